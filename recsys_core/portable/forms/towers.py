"""Two towers: a pooled history through a small network to a unit vector, multiplied with the items' unit vectors."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..matrix import Matrix
from ._base import Form, Stored


class Towers(Form):
    """score_j = items_j · tower(Σ over the items of a history of read_i / √n [+ known_user]).

    settings: threshold. Matrices: read (I, d), items (I, f); known (U, d), what the features of training users bring; bias (d,): without
    a network the tower adds it and brings what it has to unit length. Networks: tower ("pooled" (1, d) -> "vector" (1, f)), where
    there are hidden layers.
    """

    key = "towers"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.read, self.items, self.bias = stored.matrix("read"), stored.matrix("items"), stored.array("bias")
        self.known = stored.matrix("known") if stored.has("known") else None
        self.tower = stored.network("tower") if stored.has("tower") else None

    def vector(self, history: History, user: int = -1) -> np.ndarray:
        codes, _ = history.relevant(self.settings.get("threshold")).row(binary=True)
        pooled = self.read.weighted_sum(codes, np.full(len(codes), max(1, len(codes)) ** -0.5, np.float32))
        if user >= 0 and self.known is not None:
            pooled = pooled + self.known.take(np.array([user]))[0]
        if self.tower is None:
            out = pooled + self.bias
            return out / np.float32(max(float(np.linalg.norm(out)), 1e-12))
        return self.tower(pooled=pooled[None])[0][0]

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        return self.items.dot(self.vector(history, user))

    def similar(self, item: int) -> np.ndarray:
        return self.items.dot(self.items.take(np.array([item]))[0])

    @property
    def item_matrix(self) -> Matrix:
        return self.items
