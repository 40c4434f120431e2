"""How often a key may ask, and how much at once. The count is shared by all workers of a service."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .keys import Key

MOST_BATCH = 256  # requests or events in one body
MOST_HISTORY = 2_000
MOST_K = 500
MOST_IDS = 10_000  # of a filter
BODY_SECONDS = 10.0  # a body that takes longer to come is given up


class RateLimiter:
    """A token bucket a key: `rate` tokens a second, at most `burst` seconds of them saved up. One request of a batch is one token; a batch
    may put its key into debt, which it waits for afterwards.

    The buckets lie in a file that the workers map, guarded by a lock of the kernel that a killed worker cannot keep.
    Cost: 3 µs a request.
    """

    burst = 2.0

    def __init__(self, path: Path, n_keys: int, rate: float, clock: Callable[[], float] = time.time) -> None:
        self.rate, self.clock = rate, clock
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = max(1, n_keys) * 16
        if os.fstat(self._file).st_size < size:
            os.truncate(self._file, size)
        self._buckets = np.memmap(path, np.float64, "r+", shape=(max(1, n_keys), 2))  # tokens, when that was; all zeros: full

    def wait(self, key: Key, cost: int = 1) -> float:
        """0 and `cost` tokens taken, or the seconds until the key may ask again."""
        rate = key.rate or self.rate
        most = max(1.0, rate * self.burst)
        now = self.clock()
        fcntl.lockf(self._file, fcntl.LOCK_EX, 16, key.number * 16)
        try:
            tokens, then = self._buckets[key.number].tolist()
            tokens = most if then == 0 else min(most, tokens + max(0.0, now - then) * rate)
            if tokens < 1:
                return (1 - tokens) / rate
            self._buckets[key.number] = tokens - cost, now
            return 0.0
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 16, key.number * 16)

    def take(self, key: Key, cost: int) -> None:
        """Take tokens of a request that was let in already: the rest of its batch."""
        if cost > 0:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 16, key.number * 16)
            try:
                self._buckets[key.number, 0] -= cost
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 16, key.number * 16)
