"""How often a key may ask, and how much at once. The count is shared by all workers of a service."""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ...errors import BadInput
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
        self._file = _sized(path, max(1, n_keys) * 16)
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
                if now < then:  # the clock was put back: nobody waits until it is as late again
                    self._buckets[key.number] = tokens, now
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


class Shares:
    """How many items that nobody knew each key has brought since the service began. All workers count in one file; two that are told of the
    same item at the same moment both count it."""

    def __init__(self, path: Path, keys: Sequence[Key], most: int) -> None:
        """most: places of one tenant, shared evenly by its keys."""
        of_tenant = Counter(key.tenant for key in keys)
        self._share = {key: max(1, most // of_tenant[key.tenant]) for key in keys if not key.is_admin}
        self._file = _sized(path, max(1, len(keys)) * 8)
        self._counts = np.memmap(path, np.int64, "r+", shape=(max(1, len(keys)),))

    def check(self, key: Key) -> None:
        """Raises BadInput where the key has brought its share."""
        share = self._share.get(key)
        if share is not None and self._counts[key.number] >= share:
            raise BadInput(
                f"This key has brought {share:,} items that nobody knew, its share of the places for them; this one is not taken.",
                "Check the ids it sends; a newer bundle that knows the items makes room.",
            )

    def count(self, key: Key) -> None:
        """It brought one more."""
        if key in self._share:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 8, key.number * 8)
            try:
                self._counts[key.number] += 1
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 8, key.number * 8)

    def fit(self, tenant: str, taken: int) -> None:
        """A newer bundle of this tenant is in use, and of what was brought only so many items are new to it: counts fall in proportion."""
        numbers = [key.number for key in self._share if key.tenant == tenant]
        total = int(self._counts[numbers].sum())
        if total > taken:
            self._counts[numbers] = self._counts[numbers] * taken // total


def _sized(path: Path, size: int) -> int:
    """A file of at least so many bytes, opened."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(file).st_size < size:
        os.truncate(file, size)
    return file
