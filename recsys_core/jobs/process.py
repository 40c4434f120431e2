"""Starting, recognising and killing worker processes.

A process is known by its number *and* its start time on this boot of this machine, so that a number
used again by a stranger is never taken for ours, and never killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from ..store.files import host

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
GRACE_SECONDS = 0.8  # from the polite request to the kill: Cancel is promised within two seconds


@cache
def boot_id() -> str:
    """Changes with every boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def start_marker(pid: int) -> str | None:
    """Start time of a live process, stable while it lives; None when there is none (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        pass
    if sys.platform == "linux":
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def identity(pid: int) -> dict[str, Any]:
    """What to write down to recognise the process later."""
    return {"pid": pid, "started": start_marker(pid), "host": host(), "boot": boot_id()}


def is_here(who: dict[str, Any]) -> bool:
    """Whether it was started on this machine (only then can its process be asked about)."""
    return who.get("host") == host()


def is_alive(who: dict[str, Any]) -> bool:
    """Whether the very process that was written down is still running here."""
    same_boot = is_here(who) and who.get("boot") == boot_id()
    return same_boot and who.get("started") is not None and start_marker(int(who["pid"])) == who["started"]


def spawn(folder: Path, threads: int) -> subprocess.Popen[bytes]:
    """Start a worker on a job folder: own session, own log, its threads set before numpy is imported."""
    package_root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    environment |= {name: str(threads) for name in THREAD_VARIABLES}
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait halve the speed of a busy machine
    environment["PYTHONPATH"] = os.pathsep.join([package_root, *filter(None, [environment.get("PYTHONPATH")])])
    environment["PYTHONUNBUFFERED"] = "1"
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "recsys_core.jobs.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
            close_fds=True,
        )


def kill(who: dict[str, Any], reap: subprocess.Popen[bytes] | None = None, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask the worker and everything it started to stop, then kill what is left. Returns when it is gone."""
    if is_alive(who):
        _signal(who, signal.SIGTERM)
        _wait_gone(who, reap, grace_seconds)
    _signal(who, signal.SIGKILL)  # the group: also children that outlived their parent
    _wait_gone(who, reap, 5.0)
    if reap is not None:
        reap.wait(timeout=5)


def _signal(who: dict[str, Any], number: int) -> None:
    """To the process group. The worker leads its own, so the group lives under its pid; a group is only
    signalled while its leader is ours, or is gone and so cannot be a stranger's."""
    pid = int(who["pid"])
    if not is_here(who) or who.get("boot") != boot_id() or pid in (0, 1, os.getpid()):
        return
    marker = start_marker(pid)
    if marker is not None and marker != who.get("started"):
        return  # the number belongs to somebody else now
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _wait_gone(who: dict[str, Any], reap: subprocess.Popen[bytes] | None, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if reap is not None:
            reap.poll()
        if not is_alive(who):
            return
        time.sleep(0.01)
