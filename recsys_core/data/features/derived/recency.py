"""How long ago somebody was last seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._learnt import SECONDS_A_DAY, Learnt, ends, nan_unless


@dataclass(frozen=True, eq=False)
class Recency(Learnt):
    """log(1 + days from the last interaction to the end of the training part); 0 for what is later."""

    key = "recency"
    label = "Recency"
    help = "How long before the end of the training data the user was last active. Helps where tastes or the offer change over time."
    side = "user"
    needs = frozenset({"time"})
    end: int

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls(int(train.time.max()))

    def of_histories(self, histories: Histories) -> np.ndarray:
        _, last = ends(histories)
        return nan_unless(~np.isnan(last), np.log1p(np.maximum(self.end - last, 0) / SECONDS_A_DAY))
