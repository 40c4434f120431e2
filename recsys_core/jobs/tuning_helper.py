"""Further processes of a search: `python -m recsys_core.jobs.tuning_helper WORKSPACE STUDY_ID PARENT`.

They belong to the process group of the first, so what stops a job stops them; they end by themselves when it is gone. One that
dies costs its trial a second try, not the search.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .process import THREAD_VARIABLES

STOPPED = 3  # the exit status of one that was asked to stop


def spawn(folder: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start one on a study's folder; its output goes to the study's log."""
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ) | {name: str(threads) for name in THREAD_VARIABLES} | {"PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [environment.get("PYTHONPATH")])])
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "recsys_core.jobs.tuning_helper", str(folder.parent.parent), folder.name, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def working(helpers: list[subprocess.Popen[bytes]]) -> bool:
    """Whether any still runs."""
    return any(h.poll() is None for h in helpers)


def stop(helpers: list[subprocess.Popen[bytes]], grace_seconds: float = 0.4) -> None:
    """Ask those that still run to stop, then kill them."""
    for helper in helpers:
        if helper.poll() is None:
            helper.terminate()
    end = time.monotonic() + grace_seconds
    for helper in helpers:
        with suppress(subprocess.TimeoutExpired):
            helper.wait(max(0.0, end - time.monotonic()))
        if helper.poll() is None:
            helper.kill()
            helper.wait()


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Linear algebra of this process on as many threads as its helpers have; 0 = as it is."""
    if not threads:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        yield


def main(root: str, study_id: str, parent: int) -> int:
    """Work until the budget is used up, the parent is gone or somebody asks to stop."""
    from ..context import RunContext
    from ..errors import Cancelled
    from ..store.workspace import Workspace
    from .tuning import help_with

    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        help_with(Workspace(root), study_id, RunContext(cancelled=lambda: asked.is_set() or os.getppid() != parent))
    except Cancelled:
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
