"""How long somebody has been seen for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._learnt import SECONDS_A_DAY, Learnt, ends, nan_unless


@dataclass(frozen=True, eq=False)
class Tenure(Learnt):
    """log(1 + days from the first to the last interaction)."""

    key = "tenure"
    label = "Tenure"
    help = "How long lies between the user's first and last interaction. Helps to tell regulars from those who came once."
    side = "user"
    default = False  # no gain on its own on either data set it was tried on
    needs = frozenset({"time"})

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls()

    def of_histories(self, histories: Histories) -> np.ndarray:
        first, last = ends(histories)
        return nan_unless(~np.isnan(first), np.log1p((last - first) / SECONDS_A_DAY))
