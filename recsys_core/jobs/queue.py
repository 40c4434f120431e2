"""The queue of a workspace: what waits, what runs, what ended. Its state is files; any process may look.

Every change of state is made under one file lock, so two tabs or two app processes cannot start a job
twice. `tick()` does the work of a scheduler; `Dispatcher` calls it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import BadInput, NotFound
from ..store.files import clean, now, staged_folder, write_json
from ..store.workspace import KINDS, SINGULAR, Workspace
from .job import Job
from .process import identity, kill, spawn
from .spec import JobSpec, TrainSpec, default_threads

_children: dict[Path, subprocess.Popen[bytes]] = {}  # of this process, by job folder; shared between queues
START_SECONDS = 20  # between "running" and its process being written down; longer means the starter died


class JobQueue:
    """parallel: jobs at once; None = the workspace's setting (1 unless set)."""

    def __init__(self, workspace: Workspace, parallel: int | None = None) -> None:
        self.workspace = workspace
        self.root = workspace.root / "jobs"
        if parallel is not None:
            self.set_parallel(parallel)

    @property
    def parallel(self) -> int:
        return int(self.workspace.settings().get("parallel_jobs", 1))

    def set_parallel(self, parallel: int) -> None:
        """Kept in the workspace; running jobs go on."""
        if not 1 <= parallel <= 64:
            raise BadInput(f"Jobs at once must be a whole number from 1 to 64; got {parallel}.")
        if parallel != self.parallel:
            self.workspace.set_setting("parallel_jobs", int(parallel))

    @contextmanager
    def locked(self) -> Iterator[None]:
        from filelock import FileLock

        with FileLock(str(self.root / ".lock"), timeout=30):
            yield

    # ---- asking ----------------------------------------------------------------------------------
    def submit(self, spec: TrainSpec | JobSpec) -> Job:
        """Queue it. The same request is not done twice: while it waits or runs, or when its run is there,
        the existing job comes back; one that failed, was cancelled or interrupted is queued again."""
        if isinstance(spec, TrainSpec):
            spec = spec.model_copy(update={"dataset": self.workspace.dataset(spec.dataset).id})
            registry.get("model", spec.model)(spec.model_params())  # what is wrong with it is said now, not by the worker
            spec = spec.job()
        with self.locked():
            path = self.root / (spec.key or f"{time.time_ns():x}{uuid.uuid4().hex[:6]}")
            job = Job.read(path)
            if job is not None and (not job.ended or (job.state == "done" and self._still_there(job, spec))):
                return job
            if job is None and spec.kind == "train" and self.workspace.has_run(spec.key):
                return self._create(path, spec, {"state": "done", "submitted": now(), "result": {"run": spec.key}})
            if job is not None:
                return self._requeue(job, spec)
            return self._create(path, spec, {"state": "queued", "submitted": now()})

    def submit_many(self, specs: Iterable[TrainSpec | JobSpec]) -> list[Job]:
        """In that order; the same request given twice is one job."""
        found = {job.id: job for job in map(self.submit, specs)}
        return list(found.values())

    def jobs(self, states: Iterable[str] | None = None) -> list[Job]:
        """All, the newest submission first; of the given states only."""
        wanted = None if states is None else set(states)
        found = [Job.read(path) for path in self.root.iterdir() if not path.name.startswith(".")]
        kept = [job for job in found if job is not None and (wanted is None or job.state in wanted)]
        return sorted(kept, key=lambda job: (job.submitted, job.status.get("place", 0)), reverse=True)

    def job(self, job_id: str) -> Job:
        job = Job.read(self.root / Path(job_id).name)
        if job is None:
            raise NotFound(f"There is no job '{job_id}'.", "It may have been cleared.")
        return job

    def cancel(self, job_id: str) -> Job:
        """Stop it: asked politely, killed after 0.8 s, gone with all it started when this returns."""
        with self.locked():
            job = self.job(job_id)
            if job.state == "queued":
                self._write(job, state="cancelled", finished=now())
            elif job.state == "running":
                who = job.process or self._await_process(job)
                if who:
                    kill(who, _children.pop(job.path, None))
                self._sweep()
                job = self.job(job_id)
                if job.state == "running":
                    self._write(job, state="cancelled", finished=now())
        return self.job(job_id)

    def retry(self, job_id: str) -> Job:
        """Queue again what failed, was cancelled or interrupted."""
        with self.locked():
            job = self.job(job_id)
            if job.state in ("queued", "running"):
                return job
            if job.state == "done" and self._still_there(job, job.spec):
                raise BadInput(f"'{job.title}' is done; there is nothing to run again.", "Delete its run first to train it anew.")
            return self._requeue(job, job.spec)

    def clear(self, job_ids: Iterable[str] | None = None) -> int:
        """Forget ended jobs (their log and progress; runs stay); the number forgotten."""
        with self.locked():
            chosen = [j for j in self.jobs() if j.ended and (job_ids is None or j.id in set(job_ids))]
            for job in chosen:
                shutil.rmtree(job.path, ignore_errors=True)
        return len(chosen)

    # ---- working ---------------------------------------------------------------------------------
    def tick(self) -> list[Job]:
        """Write down what ended, start what may start. Returns the jobs that changed."""
        changed: list[str] = []
        if not any(job.state in ("queued", "running") for job in self.jobs()) and not _children:
            return []
        with self.locked():
            running = 0
            for job in self.jobs(["running"]):
                if self._gone(job):
                    changed.append(job.id)
                else:
                    running += 1
            for path in [p for p, child in _children.items() if child.poll() is not None]:
                del _children[path]
            room, waiting = self.parallel - running, self.jobs(["queued"])[::-1]
            for job in waiting[: max(0, room)]:
                self._start(job)
                changed.append(job.id)
        return [job for job in (Job.read(self.root / name) for name in changed) if job is not None]

    def run_until_idle(self, timeout_seconds: float = 600.0, poll_seconds: float = 0.05) -> None:
        """Tick until nothing waits or runs: for scripts and tests; the app uses a Dispatcher."""
        end = time.monotonic() + timeout_seconds
        while self.jobs(["queued", "running"]):
            if time.monotonic() > end:
                raise BadInput(f"Jobs were still running after {timeout_seconds:g} seconds.")
            self.tick()
            time.sleep(poll_seconds)

    # ---- inside ----------------------------------------------------------------------------------
    def _start(self, job: Job) -> None:
        for name in ("process.json", "heartbeat", "progress.jsonl"):
            (job.path / name).unlink(missing_ok=True)
        self._write(job, state="running", started=now())
        child = spawn(job.path, job.spec.threads or default_threads(self.parallel))
        _children[job.path] = child
        write_json(job.path / "process.json", identity(child.pid))

    def _gone(self, job: Job) -> bool:
        """Whether a job written down as running ended without saying so; then says so."""
        child = _children.get(job.path)
        code = child.poll() if child is not None else None
        if code is None and (child is not None or job.is_running()):
            return False  # of a child of our own, only its exit status tells (and tells why)
        if not job.process and (job.seconds or 0) < START_SECONDS:
            return False
        self._sweep()
        fresh = self.job(job.id)
        if fresh.state != "running":
            return True  # it wrote its own end a moment ago
        if code is None:
            self._write(fresh, state="interrupted", finished=now(), reason="It was running when the machine or the app stopped.")
        else:
            self._write(fresh, state="failed", finished=now(), reason=death(code))
        return True

    def _sweep(self) -> None:
        """Remove what a worker that is gone left half-written."""
        for kind in KINDS:
            clean(self.workspace.root / kind)

    def _await_process(self, job: Job) -> dict[str, Any]:
        end = time.monotonic() + 1.0
        while not job.process and time.monotonic() < end:
            time.sleep(0.02)
        return job.process

    def _still_there(self, job: Job, wanted: JobSpec) -> bool:
        """Whether what a finished job made exists and is what is wanted now (a study may be given a larger budget)."""
        if job.kind == "train":
            return self.workspace.has_run(job.spec.key)
        made = [self.workspace.root / kind / str(job.result[name]) for kind, name in SINGULAR.items() if job.result.get(name)]
        return job.spec.payload == wanted.payload and all(path.is_dir() for path in made)

    def _requeue(self, job: Job, spec: JobSpec) -> Job:
        for name in ("process.json", "heartbeat", "progress.jsonl"):
            (job.path / name).unlink(missing_ok=True)
        write_json(job.path / "spec.json", spec)
        write_json(job.path / "state.json", {"state": "queued", "submitted": now(), "place": time.time_ns()})
        return self.job(job.id)

    def _create(self, path: Path, spec: JobSpec, status: dict[str, Any]) -> Job:
        with staged_folder(path) as folder:
            write_json(folder / "spec.json", spec)
            write_json(folder / "state.json", status | {"place": time.time_ns()})
        return self.job(path.name)

    def _write(self, job: Job, **changes: Any) -> None:
        write_json(job.path / "state.json", job.status | changes)


def death(code: int) -> str:
    """Why a worker that left no word is gone, from its exit status."""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "It was killed, most likely by the system because memory ran out. Use fewer factors, fewer items or a lighter model."
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"Its process crashed ({name}). The log has what is known."
    return f"Its process ended with exit status {code} before it was done. The log has what is known."
