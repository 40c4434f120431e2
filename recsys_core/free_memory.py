"""How much memory a process may still use: the smaller of what the machine and the container leave."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat"),
)


def available_bytes() -> int:
    """Memory a new process may use: the smaller of the machine's and the container's (cgroup) free memory."""
    free = psutil.virtual_memory().available
    for limit_file, used_file, stat_file in CGROUP_FILES:
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used + _reclaimable(stat_file)))
    return int(free)


def _number(path: str) -> int | None:
    """The number in a cgroup file; None when there is no file or no limit."""
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _reclaimable(path: str) -> int:
    """Bytes of file cache counted as used, which the system gives back when asked."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(values.get("inactive_file") or values.get("total_inactive_file") or 0)
