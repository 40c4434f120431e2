"""Local services of a workspace: started for a bundle, found again after a restart of the app, ended with all they started.

    services = Services(workspace)
    service = services.start(workspace.bundle(id))
    service.client.recommend("anna").data["items"]
    services.stop(service.id)

A service lives in services/<bundle id>/: service.json (where it listens and its key; for its owner only), keys.txt (the key's hash),
log.txt (a JSON line a request), events.jsonl (all feedback), health.jsonl (how it did, sampled by whoever looks), bundle.zip (a copy).
Light: no model library, no onnxruntime, no HTTP library beside the standard one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..jobs.process import THREAD_VARIABLES, identity, kill
from ..store.bundles import BundleEntry
from ..store.files import json_object, now, read_json
from .endpoint import PACKAGE
from .http.keys import new_key
from .local_service import LocalService, read_from
from .service_client import Reply, ServiceClient, ServiceGone

__all__ = ["LocalService", "Reply", "ServiceClient", "ServiceGone", "Services"]

START_SECONDS, STOP_SECONDS = 60.0, 3.0
MOST_LOG_BYTES = 20 * 2**20
SAMPLES, SAMPLE_SECONDS = 600, 1.5


class Services:
    """All services of a workspace. Threads may share one."""

    def __init__(self, workspace: Any) -> None:
        self.root = Path(workspace if isinstance(workspace, (str, Path)) else workspace.root).resolve()  # a Path has a `root` of its own
        self.folder = self.root / "services"
        self._lock = threading.Lock()
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    # ---- finding -----------------------------------------------------------------------------------
    def find(self, bundle_id: str) -> LocalService | None:
        """The service of a bundle, running or ended by itself; None where none was started, or it was stopped."""
        found = read_json(self.folder / bundle_id / "service.json")
        try:
            kept = {name: found[name] for name in LocalService.__dataclass_fields__ if name != "folder"}
            return LocalService(**kept, folder=self.folder / bundle_id)
        except (TypeError, KeyError):
            return None

    def all(self) -> list[LocalService]:
        """Those that run or ended by themselves."""
        ids = sorted(path.parent.name for path in self.folder.glob("*/service.json"))
        return [service for service in map(self.find, ids) if service is not None]

    # ---- starting and stopping ---------------------------------------------------------------------
    def start(self, bundle: BundleEntry, *, forget: bool = False, seconds: float = START_SECONDS) -> LocalService:
        """The service of a bundle, ready for questions; the one that runs already, if one does. forget: begin without the events of
        before. Raises ServiceGone with what it said where it does not come up."""
        with self._alone(bundle.id, seconds):
            there = self.find(bundle.id)
            if there is not None and there.alive and not forget:
                return there
            if there is not None:
                self._end(there)
            folder = self.folder / bundle.id
            folder.mkdir(parents=True, exist_ok=True)
            if forget:
                (folder / "events.jsonl").unlink(missing_ok=True)
            log = folder / "log.txt"
            if log.exists() and log.stat().st_size > MOST_LOG_BYTES:
                os.replace(log, folder / "log.before.txt")
            key, line = new_key("app")
            _write_own(folder / "keys.txt", line + "\n")
            _write_own(folder / "key.txt", key + "\n")
            begins = log.stat().st_size if log.exists() else 0
            child = self._spawn(folder, _placed(bundle.file, folder))
            who = identity(child.pid)
            try:
                port = _await_port(log, begins, child, seconds)
                service = LocalService(bundle.id, bundle.run_id, _name(bundle), port, key, now(), who, folder)
                _await_ready(service, child, seconds)
            except ServiceGone:
                kill(who, child)
                raise
            self._children[child.pid] = child
            kept = {name: value for name, value in asdict(service).items() if name != "folder"}
            _write_own(folder / "service.json", json.dumps(kept))
            return service

    def swap(self, service: LocalService, file: Path) -> None:
        """Put another bundle in the place of the one that is served. The service looks every other second: it takes the file up once it
        passes its checks, and goes on with the one before it otherwise; its /health says which."""
        _placed(file, service.folder)

    def stop(self, service_id: str) -> None:
        """End it and forget where it was; its log and events stay. One that is gone already is no error."""
        with self._alone(service_id, START_SECONDS):
            service = self.find(service_id)
            if service is not None:
                self._end(service)

    def stop_all(self) -> None:
        for service in self.all():
            self.stop(service.id)

    def clean(self, bundles: list[str]) -> list[str]:
        """Stop and remove services whose bundle is none of these (ids); what was removed."""
        folders = [path.name for path in self.folder.glob("[!.]*") if path.is_dir() and path.name not in bundles]
        gone = [name for name in folders if not (self.root / "bundles" / name).exists()]  # one that cannot be read may be mended
        for name in gone:
            self.stop(name)
            shutil.rmtree(self.folder / name, ignore_errors=True)
        return gone

    @contextlib.contextmanager
    def _alone(self, service_id: str, seconds: float) -> Iterator[None]:
        """One at a time, threads and processes alike: two windows of the app that start a service end up with the same one."""
        from filelock import FileLock, Timeout

        (self.folder / ".locks").mkdir(parents=True, exist_ok=True)
        try:
            with self._lock, FileLock(self.folder / ".locks" / service_id, timeout=2 * seconds):
                yield
        except Timeout:
            raise ServiceGone("This service is being started or stopped from another window.", "Try again in a moment.") from None

    def _end(self, service: LocalService) -> None:
        kill(service.process, self._children.pop(int(service.process["pid"]), None), STOP_SECONDS)
        (service.folder / "service.json").unlink(missing_ok=True)

    def _spawn(self, folder: Path, bundle: Path) -> subprocess.Popen[bytes]:
        """What the command `serve` becomes, in a session of its own, one thread."""
        environment = dict(os.environ) | dict.fromkeys(THREAD_VARIABLES, "1")
        for name in ("RECSYS_API_KEYS", "RECSYS_SERVICE"):  # of other services
            environment.pop(name, None)
        environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), *filter(None, [environment.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "recsys_core.serving.http", "--bundle", str(bundle), "--port", "0", "--rate", "2000"]
        command += ["--keys", str(folder / "keys.txt"), "--log", str(folder / "events.jsonl")]
        with os.fdopen(os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment,
                close_fds=True,
            )  # fmt: skip

    # ---- how they do -------------------------------------------------------------------------------
    def sample(self, service: LocalService) -> dict[str, Any]:
        """What /health says now; kept, at most every 1.5 s, so that there is a past to draw. Raises ServiceGone."""
        health = service.client.health()
        history = self.history(service)
        if not history or time.time() - history[-1]["at"] >= SAMPLE_SECONDS:
            stats = health.get("stats") or {}
            point = {"at": round(time.time(), 2), "problems": len(health.get("problems") or ())} | stats
            kept = [*history, point]
            if len(kept) > 2 * SAMPLES:
                _write_own(service.folder / "health.jsonl", "".join(json.dumps(one) + "\n" for one in kept[-SAMPLES:]))
            else:
                with (service.folder / "health.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(point) + "\n")
        return health

    def history(self, service: LocalService) -> list[dict[str, Any]]:
        """Samples of /health, oldest first: {"at", "requests_per_second", "p50_ms", …}."""
        try:
            lines = (service.folder / "health.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [point for point in map(json_object, lines) if point is not None and isinstance(point.get("at"), (int, float))]


def _placed(bundle: Path, folder: Path) -> Path:
    """A copy of its own, put there in one step: what is kept in the workspace stays what it is when another takes its place."""
    target, temporary = folder / "bundle.zip", folder / f".tmp-bundle-{uuid.uuid4().hex[:8]}"
    try:
        shutil.copyfile(bundle, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _name(bundle: BundleEntry) -> str:
    return str(bundle.manifest.get("run_name") or bundle.name)


def _await_port(log: Path, begins: int, child: subprocess.Popen[bytes], seconds: float) -> int:
    """The port it says it listens on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        text = read_from(log, begins)
        for line in text.splitlines():
            said = json_object(line)
            if said is not None and said.get("event") == "listening":
                return int(str(said["url"]).rpartition(":")[2])
        if child.poll() is not None:
            raise ServiceGone("The service did not start.", text.strip()[-300:] or "It said nothing.")
        time.sleep(0.05)
    raise ServiceGone(f"The service did not start within {seconds:.0f} s.", "The machine may be busy: try again.")


def _await_ready(service: LocalService, child: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if service.client.ready():
            return
        if child.poll() is not None:
            raise ServiceGone("The service did not start.", service.why_ended())
        time.sleep(0.05)
    failed = "; ".join(str(line["error"]) for line in service.log_tail() if line.get("event") == "failed")
    raise ServiceGone(f"The service was not ready within {seconds:.0f} s.", failed[-300:] or "The machine may be busy: try again.")


def _write_own(path: Path, text: str) -> None:
    """Replace a file as a whole; it is never readable by others, not even for a moment."""
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
