"""How popular the items are that somebody has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._learnt import Learnt, distinct, nan_unless, percentiles, relevant


@dataclass(frozen=True, eq=False)
class Mainstream(Learnt):
    """Mean popularity percentile of the relevant distinct items had.

    An item's percentile is the share of all choices in the training part that fall on less popular items, and half of those on items as
    popular as it: of choices, not of items, so that the mean over all choices is one half.
    """

    key = "mainstream"
    label = "Mainstream"
    help = "How popular the items are that the user chooses. Helps to tell those who follow the crowd from those who look for rare items."
    side = "user"
    percentile: np.ndarray  # float32 (I,)
    threshold: float | None

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls(percentiles(train.item_counts), train.threshold)

    def of_histories(self, histories: Histories) -> np.ndarray:
        had = distinct(relevant(histories, self.threshold), len(self.percentile))
        n = np.diff(had.indptr)
        return nan_unless(n, (had @ self.percentile) / np.maximum(n, 1))
