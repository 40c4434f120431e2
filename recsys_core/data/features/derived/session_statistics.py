"""In how many visits somebody came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._learnt import Learnt, nan_unless, rows

PAUSE = 30 * 60  # seconds without an interaction that end a session
HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class SessionStatistics(Learnt):
    """log of the number of sessions, log of the mean number of interactions in one, and log(1 + median hours between two).

    A session ends where nothing happens for more than 30 minutes. Hours between the last interaction of one and the first of the next;
    unknown with a single session.
    """

    key = "session_statistics"
    label = "Sessions"
    help = "How often the user came, how much happened in one visit and how long the pauses were. Helps to tell habits from single binges."
    side = "user"
    default = False  # no gain on its own on either data set it was tried on
    needs = frozenset({"time"})
    columns = ("number", "length", "hours between")

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls()

    def of_histories(self, histories: Histories) -> np.ndarray:
        n = len(histories)
        if histories.times is None or not len(histories.items):
            return np.full((n, 3), np.nan, dtype=np.float32)
        row, some = rows(histories), histories.lengths > 0
        gap = np.diff(histories.times)
        pause = (gap > PAUSE) & (row[1:] == row[:-1])
        number = np.bincount(row[1:][pause], minlength=n) + some
        length = histories.lengths / np.maximum(number, 1)
        hours = _medians(gap[pause], row[1:][pause], n) / HOUR
        return nan_unless(some, np.log(np.maximum(number, 1)), np.log(np.maximum(length, 1)), np.log1p(hours))


def _medians(gap: np.ndarray, row: np.ndarray, n: int) -> np.ndarray:
    """float64 (n,): the median of each row's whole, positive gaps; NaN where it has none."""
    out = np.full(n, np.nan)
    count = np.bincount(row, minlength=n)
    some, start = count > 0, np.cumsum(count) - count
    unit = int(gap.max(initial=0)) + 1
    ordered = np.sort(row * unit + gap)  # by row, then by gap: one sort of whole numbers is five times faster than a lexsort
    ordered -= row * unit
    low, high = (start + (count - 1) // 2)[some], (start + count // 2)[some]
    out[some] = (ordered[low] + ordered[high]) / 2
    return out
