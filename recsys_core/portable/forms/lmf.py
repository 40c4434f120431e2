"""Logistic matrix factorisation: the vector of a user that best tells what they took from what they did not."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._ascent import maximise, popularity_sample
from ._base import Stored
from ._entries import raw_weights
from ._factors import Factors


class Logistic(Factors):
    """x = max Σ over the history of c_i log σ(s_i) + N E_j[log(1 - σ(s_j))] - ½ λ |x|², s = x·y + b, b relative to popularity.

    settings: threshold, weighting, weight_scale (c); negatives an interaction and most_negatives (N); sample, steps, decay (λ);
    constant: see `Factors`. Matrices: as `Factors`; relative (I,), b; share float64 (I,), popularity. Cost: steps × 2 × sample × F.
    """

    key = "lmf"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.relative = stored.array("relative").astype(np.float64)
        sample, self.weight = popularity_sample(stored.array("share"), self.settings["sample"])
        self.sampled, self.offset = self.items.take(sample).astype(np.float64), self.relative[sample]
        self.square = (self.sampled * self.weight[:, None]).T @ self.sampled

    def fold_in(self, history: History) -> np.ndarray:
        s, sampled, offset = self.settings, self.sampled, self.offset
        codes, values = history.relevant(s["threshold"]).row(binary=False)
        weights = raw_weights(values, s["weighting"]) / s["weight_scale"]
        vectors, bias = self.items.take(codes).astype(np.float64), self.relative[codes]
        drawn = min(len(codes) * s["negatives"], s["most_negatives"]) * self.weight

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            taken, other = vectors @ x + bias, sampled @ x + offset
            value = -weights @ np.logaddexp(0, -taken) - drawn @ np.logaddexp(0, other) - s["decay"] / 2 * (x @ x)
            gradient = (weights / (1 + np.exp(taken))) @ vectors - (drawn / (1 + np.exp(-other))) @ sampled - s["decay"] * x
            return float(value), gradient

        total = weights.sum() + drawn.sum()
        direction = np.linalg.inv(total / 4 * self.square + s["decay"] * np.eye(self.square.shape[0]))
        return maximise(objective, direction, s["steps"])
