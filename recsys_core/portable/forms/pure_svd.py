"""Truncated SVD: the vector of a user is their history times the items' directions."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Stored
from ._entries import raw_weights
from ._factors import Factors


class Projection(Factors):
    """x = Σ r_j · items_j, r_j = weight_j / weight_scale · item_scale_j. Source: Cremonesi, Koren, Turrin 2010, section 3.2.2.

    settings: threshold, weighting, weight_scale. Matrices: as `Factors`; item_scale float32 (I,), where popular items are damped.
    """

    key = "pure_svd"
    has_shares = True

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.item_scale = stored.array("item_scale") if stored.has("item_scale") else None

    def _entries(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        codes, values = history.relevant(self.settings["threshold"]).row(binary=False)
        entries = raw_weights(values, self.settings["weighting"]) / self.settings["weight_scale"]
        return codes, entries if self.item_scale is None else entries * self.item_scale[codes]

    def fold_in(self, history: History) -> np.ndarray:
        return self.items.weighted_sum(*self._entries(history))

    def parts(self, item: int, history: History) -> tuple[np.ndarray, np.ndarray]:
        codes, entries = self._entries(history)
        return codes, entries * (self.items.take(codes) @ self.items.take(np.array([item]))[0])
