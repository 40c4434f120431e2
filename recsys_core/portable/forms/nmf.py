"""Non-negative factors: the vector of a user by coordinate descent, or by multiplicative updates."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Stored
from ._entries import raw_weights
from ._factors import Factors, gram_of

SETTLED = 1e-6  # of the largest number of a vector: a pass that moves nothing by more is the last


class NonNegative(Factors):
    """loss "squared": min over x ≥ 0 of ½ |r - x Yᵀ|² + ½ λ |x|², by the passes of scikit-learn's coordinate descent from 0.
    loss "kullback_leibler": Lee and Seung's multiplicative update from 1.

    settings: threshold, weighting, weight_scale, loss, regularization (λ), passes. Matrices: as `Factors`.
    Cost: passes × (F reads and, for every number that moves, F additions).
    """

    key = "nmf"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        if self.settings["loss"] == "squared":
            self.gram = gram_of(self.items) + self.settings["regularization"] * np.eye(self.items.shape[1])
            self.diagonal = self.gram.diagonal().tolist()
        else:
            self.total = np.maximum(self.items.take(slice(None)), 1e-12).sum(axis=0, dtype=np.float64)

    def fold_in(self, history: History) -> np.ndarray:
        s = self.settings
        codes, values = history.relevant(s["threshold"]).row(binary=False)
        weights = raw_weights(values, s["weighting"]) / s["weight_scale"]
        vectors = self.items.take(codes).astype(np.float64)
        return self._descend(weights @ vectors) if s["loss"] == "squared" else self._multiply(weights, np.maximum(vectors, 1e-12))

    def _descend(self, right: np.ndarray) -> np.ndarray:
        """One number after the other to its best. The gradient is kept up to date, so one that stays at 0 costs a comparison."""
        x, gradient, rows = [0.0] * len(right), -right, self.gram
        for _ in range(self.settings["passes"]):
            moved = 0.0
            for at, slope in enumerate(self.diagonal):
                if slope == 0:
                    continue
                here = x[at]
                new = max(here - gradient.item(at) / slope, 0.0)
                if new != here:
                    gradient += (new - here) * rows[at]
                    x[at] = new
                    moved = max(moved, abs(new - here))
            if moved <= SETTLED * max(x):
                break
        return np.array(x)

    def _multiply(self, weights: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        x = np.ones(vectors.shape[1])
        for _ in range(self.settings["passes"]):
            ratio = weights / np.maximum(vectors @ x, 1e-12)
            x = x * ((ratio @ vectors) / (self.total + self.settings["regularization"] * x))
        return x
