"""Counts of the last minute, over all workers, for /health. Every worker writes a small file of its own; whoever is asked adds up."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

WINDOW = 60  # seconds
_REQUESTS, _ERRORS, _HITS, _LOOKUPS = range(1, 5)  # column 0 is the second a row stands for
_FIRST = 5
BUCKETS = 96
_LOW, _GROWTH = 0.01, 1.15  # milliseconds; a bucket is 15 % wide: 0.01 ms to 6,000 ms


class Stats:
    """Rows of one second each: requests, errors (5xx), cache hits and look-ups, and a histogram of latencies. parts: what is counted apart
    (tenants), by number."""

    def __init__(self, folder: Path, parts: int = 1, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock, self.started = folder, clock, clock()
        for path in folder.glob("stats-*.bin"):
            if not lives(int(path.stem.partition("-")[2])):  # of a worker that was killed
                path.unlink(missing_ok=True)
        self.path = folder / f"stats-{os.getpid()}.bin"
        shape = (parts, WINDOW + 2, _FIRST + BUCKETS)  # one more than the window, so that the second that is filled now is not in it
        self._rows = np.memmap(self.path, np.int64, "w+", shape=shape)
        self._lock = Lock()  # the event loop counts requests, the work thread look-ups

    def _row(self, part: int) -> np.ndarray:
        second = int(self.clock())
        row = self._rows[part, second % self._rows.shape[1]]
        if row[0] != second:
            row[:] = 0
            row[0] = second
        return row

    def add(self, milliseconds: float, status: int, part: int = 0) -> None:
        """A request that was answered."""
        with self._lock:
            row = self._row(part)
            row[_REQUESTS] += 1
            if status >= 500:
                row[_ERRORS] += 1
            row[_FIRST + bucket_of(milliseconds)] += 1

    def looked_up(self, hits: int, lookups: int, part: int = 0) -> None:
        """Of the cache."""
        if lookups:
            with self._lock:
                row = self._row(part)
                row[_HITS] += hits
                row[_LOOKUPS] += lookups

    def summary(self, parts: Sequence[int] | None = None) -> dict[str, Any]:
        """Of these parts (default: all) in the last full `WINDOW` seconds (or since the start), all workers together. Percentiles are
        within 15 %, rounded up."""
        now = int(self.clock())
        added = np.zeros(_FIRST + BUCKETS, np.int64)
        for path in self.folder.glob("stats-*.bin"):
            with contextlib.suppress(OSError, ValueError):  # a worker that ended takes its file along
                rows = np.fromfile(path, np.int64).reshape(self._rows.shape)
                rows = (rows if parts is None else rows[list(parts)]).reshape(-1, _FIRST + BUCKETS)
                added += rows[(rows[:, 0] > now - WINDOW) & (rows[:, 0] <= now)].sum(axis=0)
        seconds = max(1.0, min(WINDOW, self.clock() - self.started))
        lookups, counts = int(added[_LOOKUPS]), added[_FIRST:]
        return {
            "requests": int(added[_REQUESTS]),
            "requests_per_second": round(float(added[_REQUESTS]) / seconds, 2),
            **{f"p{share}_ms": _percentile(counts, share) for share in (50, 95, 99)},
            "errors": int(added[_ERRORS]),
            "cache_hit_rate": round(int(added[_HITS]) / lookups, 4) if lookups else None,
            "window_seconds": round(seconds, 1),
            "workers": len(list(self.folder.glob("stats-*.bin"))),
        }

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def bucket_of(milliseconds: float) -> int:
    if milliseconds <= _LOW:
        return 0
    return min(BUCKETS - 1, int(math.log(milliseconds / _LOW) / _LOG_GROWTH) + 1)


_LOG_GROWTH = float(np.log(_GROWTH))


def _percentile(counts: np.ndarray, share: float) -> float | None:
    total = int(counts.sum())
    if not total:
        return None
    at = int(np.searchsorted(np.cumsum(counts), share / 100 * total))
    return round(_LOW * _GROWTH**at, 3)
