"""How much somebody has had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._learnt import Learnt, distinct, nan_unless


@dataclass(frozen=True, eq=False)
class Activity(Learnt):
    """log(1 + distinct items had)."""

    key = "activity"
    label = "Activity"
    help = "How many different items the user has had. Helps where heavy and light users choose differently."
    side = "user"
    n_items: int

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls(train.n_items)

    def of_histories(self, histories: Histories) -> np.ndarray:
        had = np.diff(distinct(histories, self.n_items).indptr)
        return nan_unless(had, np.log1p(had))
