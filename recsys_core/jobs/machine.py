"""What a run writes down about where it ran: versions, machine, peak memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from typing import Any

PACKAGES = ("numpy", "scipy", "pandas", "torch", "implicit", "scikit-learn", "duckdb", "pydantic", "safetensors")


def versions() -> dict[str, str]:
    """Of Python, this package and the libraries results depend on; nothing is imported for it."""
    from .. import __version__

    found = {"python": platform.python_version(), "recsys_core": __version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(threads: int) -> dict[str, Any]:
    """System, processor, cores, threads used and memory, for the manifest."""
    import psutil

    return {
        "system": platform.platform(terse=True),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "memory_bytes": psutil.virtual_memory().total,
    }


def peak_rss_bytes() -> int:
    """The most memory this process has held so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
