"""How broad somebody's taste is."""

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
class TasteEntropy(Learnt):
    """Entropy of the taste profile divided by its largest possible value, log(number of categories)."""

    key = "taste_entropy"
    label = "Breadth of taste"
    help = "How evenly the user's choices spread over categories: low for specialists, high for those who choose everything."
    side = "user"
    default = False  # no gain on its own on either data set it was tried on
    needs = frozenset({"item features"})
    threshold: float | None
    table: sparse.csr_matrix
    usual: np.ndarray

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        return cls(*categories_of(train, items)[1:])

    def of_histories(self, histories: Histories) -> np.ndarray:
        share = shares(histories, self.table, self.usual, self.threshold)
        terms = share * np.log(np.maximum(share, np.float32(1e-30)))
        return (-terms.sum(1, keepdims=True) / np.float32(np.log(max(2, len(self.usual))))).astype(np.float32)
