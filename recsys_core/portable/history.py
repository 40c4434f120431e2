"""What one user did, as a form reads it: the single row of `data.histories.Histories`, without scipy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class History:
    """Oldest first. items: int32 codes (n,); values: float32 (n,), 1 where the data has none; times: int64 UTC seconds (n,) or None."""

    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def of(cls, items, values=None, times=None) -> History:
        """From plain lists."""
        items = np.asarray(items, dtype=np.int32).reshape(-1)
        values = np.ones(len(items), np.float32) if values is None else np.asarray(values, dtype=np.float32).reshape(-1)
        return cls(items, values, None if times is None else np.asarray(times, dtype=np.int64).reshape(-1))

    def __len__(self) -> int:
        return len(self.items)

    def take(self, at: np.ndarray) -> History:
        """The entries at these places (numbers or a bool mask)."""
        return History(self.items[at], self.values[at], None if self.times is None else self.times[at])

    def last(self, n: int) -> History:
        """The n most recent entries."""
        return self if len(self) <= n else self.take(np.arange(len(self) - n, len(self)))

    def relevant(self, threshold: float | None) -> History:
        """The rule of `Histories.relevant`: entries of at least the threshold; everything when none reaches it."""
        if threshold is None or not len(self):
            return self
        good = self.values >= threshold
        return self.take(good) if good.any() else self

    def row(self, *, binary: bool) -> tuple[np.ndarray, np.ndarray]:
        """(codes, entries): every item once, by code; 1, or its values added up. What `Histories.matrix` holds of one row."""
        codes, place = np.unique(self.items, return_inverse=True)
        if binary:
            return codes, np.ones(len(codes), np.float32)
        return codes, np.bincount(place, self.values, minlength=len(codes)).astype(np.float32)

    def and_then(self, other: History) -> History:
        """This history, then the other."""
        times = None if self.times is None or other.times is None else np.concatenate([self.times, other.times])
        return History(np.concatenate([self.items, other.items]), np.concatenate([self.values, other.values]), times)
