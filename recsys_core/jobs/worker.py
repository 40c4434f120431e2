"""One job in a process of its own: `python -m recsys_core.jobs.worker JOB_DIR`.

It says who it is, beats, does the work through the kind's handler, and writes how it ended. What the
user reads is one sentence; the traceback goes to the log (its standard error).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Self

NICENESS = 5
BEAT_SECONDS = 1.0


def main(folder: Path) -> int:
    """Run the job of a folder; 0 when done, 1 when failed, 3 when cancelled."""
    import faulthandler

    from ..store.files import now, read_json, write_json
    from .process import identity

    faulthandler.enable()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    write_json(folder / "process.json", identity(os.getpid()))
    _be_modest()
    _start_heart(folder / "heartbeat")
    status = read_json(folder / "state.json") or {}

    def ended(state: str, **more: Any) -> None:
        write_json(folder / "state.json", status | {"state": state, "finished": now()} | more)

    try:
        result = _work(folder, stop)
    except BaseException as error:  # whatever ends the work ends this job, and only this job, with a reason
        state, reason = explain_failure(error, stop.is_set())
        if state == "failed":
            traceback.print_exc()
        ended(state, reason=reason)
        return 3 if state == "cancelled" else 1
    ended("done", result=result)
    return 0


def _work(folder: Path, stop: threading.Event) -> dict[str, Any]:
    from .. import registry
    from ..context import RunContext
    from ..store.files import read_json
    from ..store.workspace import Workspace
    from .job import CHECKPOINTS
    from .spec import JobSpec, default_threads

    spec = JobSpec(**read_json(folder / "spec.json"))
    workspace = Workspace(folder.parent.parent)
    handler = registry.get("job", spec.kind)()
    with ProgressFile(folder / "progress.jsonl") as progress:
        ctx = RunContext(
            seed=int(spec.payload.get("seed", 42)),
            threads=spec.threads or int(os.environ.get("OMP_NUM_THREADS") or default_threads()),
            on_progress=progress,
            cancelled=stop.is_set,
            device=os.environ.get("RECSYS_DEVICE") or "auto",
            workdir=folder / CHECKPOINTS,
        )
        result = handler.run(spec.payload, workspace, ctx) or {}
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return result


def explain_failure(error: BaseException, asked_to_stop: bool = False) -> tuple[str, str]:
    """(state, one sentence) for what ended a job."""
    from ..errors import Cancelled, WorkbenchError

    if isinstance(error, Cancelled | KeyboardInterrupt) or (asked_to_stop and not isinstance(error, WorkbenchError)):
        return "cancelled", ""
    if isinstance(error, WorkbenchError):
        return "failed", str(error)
    text = str(error).strip()
    out_of_memory = isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower()
    if out_of_memory:
        return "failed", "It ran out of memory. Use fewer factors, fewer items or a lighter model."
    first_line = text.splitlines()[0][:200] if text else "no message"
    return "failed", f"It stopped with an unexpected error ({type(error).__name__}: {first_line}). The log has the details."


class ProgressFile:
    """Appends progress steps as JSON lines; at most ten a second, but every one with metrics."""

    def __init__(self, path: Path, every_seconds: float = 0.1) -> None:
        self.path, self.every_seconds = path, every_seconds
        self.last, self.started, self.since = 0.0, time.monotonic(), 0.0

    def __enter__(self) -> Self:
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()

    def __call__(self, step: Any) -> None:
        import json

        from ..store.files import now, plain

        at = time.monotonic()
        if at - self.last >= self.every_seconds or step.metrics:
            self.last = at
            values = {name: value for name, value in plain(step).items() if value not in (None, "", {}, False)}
            if step.replayed:  # done before the job was interrupted: what is left is judged by what is done now
                self.started, self.since = at, step.fraction or 0.0
            done = (step.fraction or 0.0) - self.since
            if done >= 0.05:  # of the whole job; a model only knows its own part
                values["seconds_left"] = (at - self.started) * (1 - step.fraction) / done
            self.file.write(json.dumps({"at": now(), **values}) + "\n")


def _be_modest() -> None:
    """The app stays responsive, and the system, short of memory, takes the worker rather than the app."""
    os.nice(NICENESS)
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        return  # not Linux, or not allowed: nothing depends on it


def _start_heart(path: Path) -> None:
    def beat() -> None:
        while path.parent.is_dir():
            path.touch()
            time.sleep(BEAT_SECONDS)

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
