"""Items like those of the history by what their table says of them."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Form, Stored
from ._entries import entries_of, filled, per_entry, popularity_of


class ContentNeighbours(Form):
    """score_j = Σ over the history of entry_i · likeness_ij; the likeness of two items is the product of their vectors.

    settings: threshold, values. Matrices: wide (I, categories) and flat (I, d), the two parts of an item's vector, each where there is
    any; weights (I, I), the neighbours kept of every scored item (column), without them all items speak for all.
    """

    key = "content_knn"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.vectors = [stored.matrix(name) for name in ("wide", "flat") if stored.has(name)]
        self.weights = stored.matrix("weights") if stored.has("weights") else None
        self.popularity = popularity_of(stored.counts)

    def _alike(self, codes: np.ndarray, entries: np.ndarray) -> np.ndarray:
        """float32 (I,): the sum of the items' likeness to all, each times its entry."""
        return sum(part.dot(part.weighted_sum(codes, entries)) for part in self.vectors)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        codes, entries = entries_of(history, self.settings)
        found = self._alike(codes, entries) if self.weights is None else self.weights.weighted_sum(codes, entries)
        return filled(found, self.popularity)

    def similar(self, item: int) -> np.ndarray:
        return self._alike(np.array([item]), np.ones(1, np.float32))

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool]:
        codes, entries = entries_of(history, self.settings)
        column = self.similar(item)[codes] if self.weights is None else self.weights.cells(codes, item)
        return per_entry(history, codes, entries * column), True
