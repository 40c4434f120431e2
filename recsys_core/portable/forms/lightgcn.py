"""Vectors spread over a graph: what a history's items hand on, and an own vector found by a few steps."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Matrix
from ..vectors import cosine_to_all
from ._base import Form, Stored
from ._descent import descend


class LightGCN(Form):
    """score_j = items_j · user; user = (own + Σ over the n liked items of passed_on_i / √(n · count_i)) / (layers + 1).

    The own vector: steps of Adam, from the mean of where users of their items are, on the softmax of their choices and a pull to 0.
    settings: threshold; layers; steps; rate; pull; damping, usual: n choices count n^-damping / usual each. Matrices: items, passed_on,
    start (I, d); sample: int64 (m,), items that stand for the catalogue, where not all do; users (U, d), of training users.
    Cost: a step takes 2 · sample · d multiplications, a list I · d.
    """

    key = "lightgcn"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.items, self.passed_on, self.start = (stored.matrix(name) for name in ("items", "passed_on", "start"))
        self.users = stored.matrix("users") if stored.has("users") else None
        self.others = self.items.take(stored.array("sample") if stored.has("sample") else slice(None))
        self.often = np.maximum(stored.counts, 1).astype(np.float32) ** np.float32(-0.5)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        known = user >= 0 and self.users is not None
        return self.items.dot(self.users.take(np.array([user]))[0] if known else self.vector(history))

    def vector(self, history: History) -> np.ndarray:
        s = self.settings
        codes, ones = history.relevant(s["threshold"]).row(binary=True)
        n = max(1, len(codes))
        handed_on = self.passed_on.weighted_sum(codes, self.often[codes] * np.float32(n**-0.5))
        wanted, part = self.items.weighted_sum(codes, ones), np.float32(1 / (s["layers"] + 1))
        say, pull = np.float32(n ** -s["damping"] / s["usual"]) * part, np.float32(2 * s["pull"])

        def slope(own: np.ndarray) -> np.ndarray:
            scores = self.others @ ((own + handed_on) * part)
            likely = np.exp(scores - scores.max())
            return say * ((len(codes) / likely.sum()) * (likely @ self.others) - wanted) + pull * own

        begin = self.start.weighted_sum(codes, ones / np.float32(n))
        return (descend(begin, slope, s["steps"], s["rate"]) + handed_on) * part

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self.items, self._lengths, item)

    @property
    def item_matrix(self) -> Matrix:
        return self.items

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self.items.take(slice(None)), axis=1)
