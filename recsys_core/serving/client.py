"""What pages use to ask the scorer. Starts it when need be, finds it again after a restart of the app.

    client = ScorerClient(workspace)
    client.recommend_for_history([run.id], [["b0042", "b0007"]], k=10)[run.id].rows[0].items

Imports no model library: the web process stays light. A client may be shared by threads.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import WorkbenchError
from ..jobs.process import THREAD_VARIABLES, kill
from .answers import Answer, Health, Preview, Ranked, Why, answers_of, error_of, ranked
from .endpoint import PACKAGE, Endpoint, code_version, endpoint_path, read_endpoint
from .onboarding import Onboarding

START_SECONDS = 60.0


class ScorerClient(Onboarding):
    """workspace: a Workspace or its folder. timeout_seconds: of one question, loading a model included."""

    def __init__(
        self, workspace: Any, *, timeout_seconds: float = 60.0, memory_mb: int | None = None, idle_seconds: float | None = None
    ) -> None:
        self.root = Path(getattr(workspace, "root", workspace)).resolve()
        self.timeout_seconds = timeout_seconds
        self._options = [] if memory_mb is None else ["--memory-mb", str(memory_mb)]
        self._options += [] if idle_seconds is None else ["--idle-seconds", str(idle_seconds)]
        self._version = code_version()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    # ---- questions -------------------------------------------------------------------------------
    def recommend_for_history(
        self,
        runs: Sequence[str],
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        values: Sequence[Sequence[float]] | None = None,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        rerank: dict[str, Any] | None = None,
    ) -> dict[str, Answer]:
        """run -> lists for users described by their histories (external item ids, oldest first). rerank: how they are
        shaped, {"method", "params", "depth"}."""
        body = {
            "rerank": rerank,
            "histories": [list(map(str, row)) for row in histories],
            "values": None if values is None else [list(map(float, row)) for row in values],
        }
        return self._lists("recommend_for_history", runs, body, k, exclude_seen, candidates)

    def recommend(
        self,
        runs: Sequence[str],
        users: Sequence[str],
        k: int = 10,
        *,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        rerank: dict[str, Any] | None = None,
    ) -> dict[str, Answer]:
        """run -> lists for users of the training set (external ids). rerank: how they are shaped, {"method", "params", "depth"}."""
        return self._lists("recommend", runs, {"users": list(map(str, users)), "rerank": rerank}, k, exclude_seen, candidates)

    def similar_items(self, run: str, items: Sequence[str], k: int = 10) -> list[Ranked]:
        """The items most similar to each; raises Unsupported where the model cannot tell."""
        rows = self._ask("similar_items", {"run": run, "items": list(map(str, items)), "k": int(k)})["rows"]
        return [ranked(row) for row in rows]

    def explain(self, run: str, item: str, *, user: str | None = None, history: Sequence[str] | None = None, k: int = 5) -> Why:
        """Why `item`, for a user of the training set or for a history."""
        body = {"run": run, "item": str(item), "user": user, "history": None if history is None else list(map(str, history)), "k": int(k)}
        why = self._ask("explain", body)
        told = {name: tuple(why[name]) for name in ("refs", "contributions", "sorts")}
        return Why(kind=why["kind"], total=why["total"], exact=why["exact"], method=why["method"], **told)

    def preview_export(self, run: str, request: dict[str, Any], n_users: int = 5) -> Preview:
        """The first lists of an ExportRequest (as plain values) as they will be written, and how many rows there will be."""
        return Preview(**self._ask("export", {"run": run, "request": request, "n_users": int(n_users)}))

    def write_export(self, run: str, request: dict[str, Any]) -> str:
        """Write it into the workspace now; the id of the export. For large ones submit a job of kind "export" instead."""
        return str(self._ask("export", {"run": run, "request": request, "write": True})["export"])

    def warm(self, runs: Sequence[str]) -> dict[str, Answer]:
        """Load runs before they are asked for."""
        return answers_of(self._ask("warm", {"runs": list(runs)})) if runs else {}

    def evict(self, runs: Sequence[str] | None = None) -> int:
        """Let go of some runs (None: all); how many were held. Does not start a scorer for that."""
        if self._current() is None:
            return 0
        return int(self._ask("evict", {"runs": None if runs is None else list(runs)})["evicted"])

    def health(self) -> Health:
        found = self._ask("health", {})
        return Health(**(found | {"loaded": tuple(found["loaded"])}))

    # ---- the process -----------------------------------------------------------------------------
    def start(self) -> None:
        """Make sure that it runs. Raises JobFailed with the log's place when it does not come up."""
        self._ready()

    def stop(self) -> None:
        """End the process; the next question starts another."""
        found = read_endpoint(self.root)
        if found is not None:
            kill(found.process, self._reap(found))
            endpoint_path(self.root).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing to give back: the process stays warm for the next start of the app and ends by itself when idle."""

    def _current(self) -> Endpoint | None:
        """The running scorer, if it runs the code this client knows."""
        found = read_endpoint(self.root)
        return found if found is not None and found.alive and found.version == self._version else None

    def _ready(self) -> Endpoint:
        found = self._current()
        if found is not None:
            return found
        from filelock import FileLock

        # Several threads and several app processes may find it missing at once: one starts it.
        with self._lock, FileLock(str(self.root / ".scorer.lock"), timeout=START_SECONDS):
            found = self._current()
            if found is not None:
                return found
            self.stop()
            return self._spawn()

    def _spawn(self) -> Endpoint:
        environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, "1")
        environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), *filter(None, [environment.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "recsys_core.serving.scorer", "--workspace", str(self.root), "--version", self._version]
        log_path = self.root / "scorer.log"
        with log_path.open("wb") as log:
            self._child = subprocess.Popen(
                command + self._options,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._child.poll() is None:
            found = self._current()
            if found is not None:
                return found
            time.sleep(0.02)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        raise errors.JobFailed("The live scorer did not start.", f"Its log: {log_path}")

    def _reap(self, found: Endpoint) -> subprocess.Popen[bytes] | None:
        return self._child if self._child is not None and self._child.pid == found.process.get("pid") else None

    # ---- one question ----------------------------------------------------------------------------
    def _lists(
        self, verb: str, runs: Sequence[str], body: dict[str, Any], k: int, exclude_seen: bool, candidates: Sequence[str] | None
    ) -> dict[str, Answer]:
        body |= {
            "runs": list(runs),
            "k": int(k),
            "exclude_seen": exclude_seen,
            "candidates": None if candidates is None else list(map(str, candidates)),
        }
        return answers_of(self._ask(verb, body))

    def _ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        for attempt in (1, 2):
            endpoint = self._ready()
            try:
                return self._post(endpoint, verb, body)
            except TimeoutError:
                raise WorkbenchError(
                    f"The live scorer did not answer within {self.timeout_seconds:g} seconds.", "Try again, or choose a smaller model."
                ) from None
            except (ConnectionError, http.client.HTTPException) as error:
                # It ended between being found and being asked (idle, killed): once more with a new one.
                if attempt == 2:
                    raise errors.JobFailed(f"The live scorer cannot be reached: {error}.", f"Its log: {self.root / 'scorer.log'}") from None
                self._gone(endpoint)
        raise AssertionError("unreachable")

    def _gone(self, endpoint: Endpoint) -> None:
        """Wait until a scorer that hung up is really gone; end it if it lingers."""
        end = time.monotonic() + 1.0
        while endpoint.alive and time.monotonic() < end:
            if self._child is not None:
                self._child.poll()
            time.sleep(0.02)
        with self._lock:
            if endpoint.alive and read_endpoint(self.root) == endpoint:
                self.stop()

    def _post(self, endpoint: Endpoint, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=self.timeout_seconds)
        try:
            connection.request("POST", f"/{verb}", json.dumps(body).encode(), {"Authorization": f"Bearer {endpoint.token}"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status == 401:  # the port belongs to another scorer by now
            raise ConnectionError("the token was refused")
        if "error" in answer:
            raise error_of(answer["error"])
        return answer


__all__ = ["Answer", "Health", "Preview", "Ranked", "ScorerClient", "Why"]
