"""The warm scorer: one process a workspace that answers live questions, so that the web process stays light.

    python -m recsys_core.serving.scorer --workspace W

Listens on 127.0.0.1 only, on a port the system picks; port and a random token stand in a file of the
workspace that only its owner may read. JSON in, JSON out: POST /<verb> of `VERBS`, /health, /stop. It ends by
itself when nobody has asked for a while, when another scorer took its place, or when its workspace is gone.
Pages use `client.ScorerClient`.
"""

from __future__ import annotations

import argparse
import hmac
import json
import logging
import os
import secrets
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from ..errors import BadInput, NotFound, Unsupported, WorkbenchError
from ..jobs.process import identity
from ..store.files import plain
from ..store.workspace import Workspace
from . import onboarding_verbs, requests, verbs
from .endpoint import Endpoint, code_version, read_endpoint, remove_endpoint, write_endpoint
from .loaded import LoadedModels

log = logging.getLogger("recsys_core.scorer")
MAX_BODY_BYTES = 32 * 2**20
DEFAULT_MEMORY_SHARE, MOST_MEMORY_BYTES = 0.25, 8 * 2**30
IDLE_SECONDS, WATCH_SECONDS = 30 * 60, 2.0
VERBS = {
    "recommend_for_history": (requests.HistoryRequest, verbs.recommend_for_history),
    "recommend": (requests.UsersRequest, verbs.recommend),
    "similar_items": (requests.SimilarRequest, verbs.similar_items),
    "explain": (requests.ExplainRequest, verbs.explain),
    "export": (requests.ExportListsRequest, verbs.export),
    "scale": (requests.ScaleRequest, onboarding_verbs.scale),
    "questions": (requests.QuestionsRequest, onboarding_verbs.questions),
    "item_map": (requests.MapRequest, onboarding_verbs.item_map),
    "user_path": (requests.PathRequest, onboarding_verbs.user_path),
    "warm": (requests.RunsRequest, verbs.warm),
    "evict": (requests.RunsRequest, verbs.evict),
}


class Scorer(ThreadingHTTPServer):
    """The server. token: what a request must bring; models: what is loaded."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, workspace: Workspace, *, budget_bytes: int | None = None, version: str = "", idle_seconds: float = IDLE_SECONDS
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        share = int(DEFAULT_MEMORY_SHARE * psutil.virtual_memory().total)
        self.workspace = workspace
        self.models = LoadedModels(workspace, budget_bytes or min(share, MOST_MEMORY_BYTES))
        self.token = secrets.token_urlsafe(32)
        self.version = version or code_version()
        self.idle_seconds = idle_seconds
        self.started = self.last_asked = time.monotonic()

    def run(self) -> None:
        """Write the endpoint, serve until told to stop or of no more use, take the endpoint away."""
        root = self.workspace.root
        write_endpoint(root, Endpoint(self.server_address[1], self.token, self.version, identity(os.getpid())))
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            self.serve_forever(poll_interval=0.2)
        finally:
            remove_endpoint(root, self.token)
            self.server_close()

    def _watch(self) -> None:
        while True:
            time.sleep(min(WATCH_SECONDS, self.idle_seconds))
            here = read_endpoint(self.workspace.root)
            if here is None or here.token != self.token or time.monotonic() - self.last_asked > self.idle_seconds:
                log.info("no longer needed")
                self.shutdown()
                return

    def health(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": self.version,
            "uptime_seconds": time.monotonic() - self.started,
            "memory_bytes": psutil.Process().memory_info().rss,
            "budget_bytes": self.models.budget_bytes,
            "loaded": self.models.describe(),
        }

    def answer(self, verb: str, body: Any) -> dict[str, Any]:
        """Raises WorkbenchError where the question cannot be answered."""
        if verb == "health":
            requests.read(requests.HealthRequest, body)
            return self.health()
        if verb == "stop":
            threading.Thread(target=self.shutdown, daemon=True).start()
            return {"stopping": True}
        if verb not in VERBS:
            raise NotFound(f"The scorer has no '{verb}'.", f"It has: {', '.join([*VERBS, 'health', 'stop'])}.")
        self.last_asked = time.monotonic()
        request, do = VERBS[verb]
        try:
            return do(self.models, requests.read(request, body))
        finally:
            self.last_asked = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    """One connection; kept open between questions."""

    server: Scorer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    timeout = 60

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            self.close_connection = True  # the body stays unread
            return self._send(401, {"error": verbs.error_json(BadInput("The scorer answers only who knows its token."))})
        try:
            answer = self.server.answer(self.path.strip("/"), self._body())
        except WorkbenchError as error:
            return self._send(404 if isinstance(error, NotFound) else 400, {"error": verbs.error_json(error)})
        except MemoryError:
            self.server.models.evict()
            return self._send(
                500, {"error": verbs.error_json(Unsupported("The scorer ran out of memory.", "Ask for fewer models or users at once."))}
            )
        except Exception as error:  # the process must outlive a bug in one model; the log has the traceback
            log.exception("%s failed", self.path)
            return self._send(
                500,
                {"error": verbs.error_json(WorkbenchError(f"The scorer failed: {type(error).__name__}: {error}.", "Its log has more."))},
            )
        return self._send(200, answer)

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            raise BadInput(f"A question must have a length of at most {MAX_BODY_BYTES:,} bytes; got {length or 'none'}.")
        try:
            return json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError:
            raise BadInput("The question is not JSON.") from None

    def _send(self, status: int, value: dict[str, Any]) -> None:
        payload = json.dumps(plain(value), allow_nan=False).encode()  # JSON has no NaN and no infinity
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--memory-mb", type=int, default=None, help="models held at once, in MiB; default a quarter of the memory")
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS, help="ends after so long without a question")
    parser.add_argument("--version", default="", help="of the code, as the client that starts it sees it")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    budget_bytes = None if args.memory_mb is None else args.memory_mb * 2**20
    scorer = Scorer(Workspace(args.workspace), budget_bytes=budget_bytes, version=args.version, idle_seconds=args.idle_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=scorer.shutdown, daemon=True).start())
    log.info("listening on 127.0.0.1:%s", scorer.server_address[1])
    scorer.run()


if __name__ == "__main__":
    main()
