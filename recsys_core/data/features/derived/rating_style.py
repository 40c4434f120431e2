"""How somebody rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._learnt import Learnt, nan_unless, rows

PRIOR = 2.0  # ratings' worth of everybody's


@dataclass(frozen=True, eq=False)
class RatingStyle(Learnt):
    """Mean and deviation of the ratings, drawn towards those of all ratings as if by two more.

    A history whose values are all 1 has no ratings: items picked by hand come that way.
    """

    key = "rating_style"
    label = "Rating style"
    help = "How high the user rates on average and how far the ratings spread. Helps to tell a generous rater's 4 from a strict one's."
    side = "user"
    needs = frozenset({"ratings"})
    columns = ("mean", "spread")
    mean: float
    variance: float

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        value = train.value.astype(np.float64)
        return cls(float(value.mean()), float(value.var()))

    def of_histories(self, histories: Histories) -> np.ndarray:
        row, n, value = rows(histories), histories.lengths, histories.values.astype(np.float64)
        rated = np.bincount(row, value != 1, minlength=len(n)) > 0
        own = np.bincount(row, value, minlength=len(n)) / np.maximum(n, 1)
        squares = np.bincount(row, (value - own[row]) ** 2, minlength=len(n))
        mean = (n * own + PRIOR * self.mean) / (n + PRIOR)
        return nan_unless(rated, mean, np.sqrt((squares + PRIOR * self.variance) / (n + PRIOR)))
