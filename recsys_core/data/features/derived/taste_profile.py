"""Which categories somebody's items belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._categories import categories_of, shares
from ._learnt import Learnt


@dataclass(frozen=True, eq=False)
class TasteProfile(Learnt):
    """Shares of the relevant distinct items over item categories, drawn towards everybody's shares as if by some more items."""

    key = "taste_profile"
    label = "Taste"
    help = (
        "Which categories of items the user has chosen, as shares of all choices. "
        "Helps to place users with a short history, and to match users with new items."
    )
    side = "user"
    needs = frozenset({"item features"})
    categorical = True
    categories: list[str]
    threshold: float | None
    table: sparse.csr_matrix  # (I, K): an item's shares
    usual: np.ndarray  # (K,): everybody's shares

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls(*categories_of(train, items))

    @property
    def names(self) -> list[str]:
        return self.categories

    def of_histories(self, histories: Histories) -> np.ndarray:
        return shares(histories, self.table, self.usual, self.threshold)
