"""Factors of explicit ratings: the vector of a user by ridge regression on what they rated."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Stored
from ._factors import Factors, gram_of, ridge_system


class RatingFactors(Factors):
    """rank "likely": a rated item's target is its rating on (0, 1], an unrated one's is 0: x = (YᵀY + w Σ y yᵀ + λ)⁻¹ (1 + w) Σ t_j y_j.
    rank "rating": ridge of the ratings beside their mean and the items' biases, on the rated items alone; scores are stars.

    settings: rank; best: the rating that an entry of a list without ratings stands for; likely: low, step, top (t = (r - low + step) /
    (top - low + step)), observed (w), ridge (λ); rating: mean, regularization, bias_regularization (a rated item each; the last number of
    x is the user's bias). Matrices: as `Factors`. Cost: n · F² + F³ / 3.
    """

    key = "biased_mf"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        s, width = self.settings, self.items.shape[1]
        self.likely = self.has_shares = s["rank"] == "likely"
        if self.likely:
            self.gram = gram_of(self.items) + s["ridge"] * np.eye(width)
        else:
            self.ridge = np.append(np.full(width - 1, s["regularization"]), s["bias_regularization"])

    def _ratings(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        """(codes, ratings): repeats averaged; a history of ones only has no ratings, and each of its items counts as the best."""
        values = history.values if (history.values != 1).any() else np.full(len(history), self.settings["best"])
        codes, totals = History(history.items, values).row(binary=False)
        return codes, totals / np.bincount(np.searchsorted(codes, history.items), minlength=len(codes))

    def _likely(self, history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(codes, (1 + w) t, vectors, the system)."""
        s = self.settings
        codes, ratings = self._ratings(history)
        vectors = self.items.take(codes)
        wanted = (1 + s["observed"]) * (ratings - s["low"] + s["step"]) / (s["top"] - s["low"] + s["step"])
        return codes, wanted, vectors, ridge_system(self.gram, vectors, np.full(len(codes), s["observed"]))

    def fold_in(self, history: History) -> np.ndarray:
        if self.likely:
            _, wanted, vectors, system = self._likely(history)
        else:
            codes, ratings = self._ratings(history)
            vectors, wanted = self.items.take(codes), ratings - self.bias[codes]  # the stored bias has the mean in it
            system = ridge_system(np.diag(len(codes) * self.ridge), vectors, np.ones(len(codes)))
        return np.linalg.solve(system, (wanted.astype(np.float32) @ vectors).astype(np.float64))

    def parts(self, item: int, history: History) -> tuple[np.ndarray, np.ndarray]:
        codes, wanted, vectors, system = self._likely(history)
        return codes, wanted * (vectors @ np.linalg.solve(system, self.items.take(np.array([item]))[0].astype(np.float64)))
