"""Alternating least squares: the vector of a user by one ridge regression on all items."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Stored
from ._entries import popularity_of, raw_weights
from ._factors import Factors, gram_of, ridge_system


class LeastSquares(Factors):
    """x = (YᵀY + Σ c_j y_j y_jᵀ + λ)⁻¹ (Σ (1 + c_j) y_j + λ · centre), c_j = alpha · weight_j / weight_scale.

    Source: Hu, Koren, Volinsky 2008, eq. 4; parts of a score: section 5. settings: threshold, alpha, weighting, weight_scale,
    regularization; reads_users: a training user without history has a vector from the user table. Matrices: as `Factors`; centre (F,),
    where vectors are drawn to something else than 0. Cost: n · F² + F³ / 3.
    """

    key = "als"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        ridge = self.settings["regularization"]
        self.gram = gram_of(self.items) + ridge * np.eye(self.items.shape[1])
        self.pull = ridge * stored.array("centre").astype(np.float64) if stored.has("centre") else 0.0
        self.serves_nothing = bool(self.settings.get("reads_users")) and self.users is not None
        self.popularity = popularity_of(stored.counts)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        if not len(history) and user < 0:
            return self.popularity.copy()
        return super().scores(history, user)

    def _known(self, history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(codes (n,), extra confidences (n,), vectors (n, F))."""
        codes, values = history.relevant(self.settings["threshold"]).row(binary=False)
        extra = self.settings["alpha"] * raw_weights(values, self.settings["weighting"]) / self.settings["weight_scale"]
        return codes, extra, self.items.take(codes)

    def fold_in(self, history: History) -> np.ndarray:
        _, extra, vectors = self._known(history)
        right = ((1 + extra).astype(np.float32) @ vectors).astype(np.float64) + self.pull
        return np.linalg.solve(ridge_system(self.gram, vectors, extra), right)

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool]:
        parts, _ = super().shares(item, history)
        return parts, not np.any(self.pull)  # what the centre adds is of no item

    has_shares = True

    def parts(self, item: int, history: History) -> tuple[np.ndarray, np.ndarray]:
        codes, extra, vectors = self._known(history)
        wanted = self.items.take(np.array([item]))[0].astype(np.float64)
        return codes, (1 + extra) * (vectors @ np.linalg.solve(ridge_system(self.gram, vectors, extra), wanted))
