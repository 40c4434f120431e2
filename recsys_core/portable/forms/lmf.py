"""Logistic matrix factorisation: the vector of a user that best tells what they took from what they did not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..history import History
from ._ascent import maximise, popularity_sample
from ._base import Stored
from ._entries import raw_weights
from ._factors import Factors

FLAT = 1e-12  # where the ascent ends: a score is then off by less than a ten-thousandth of the spread


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
        s = self.settings
        codes, values = history.relevant(s["threshold"]).row(binary=False)
        weights = raw_weights(values, s["weighting"]) / s["weight_scale"]
        drawn = min(len(codes) * s["negatives"], s["most_negatives"]) * self.weight
        rows = np.concatenate([self.items.take(codes).astype(np.float64), self.sampled])
        offset = np.concatenate([self.relative[codes], self.offset])
        # log σ(s) of what was taken, log(1 - σ(s)) = log σ(-s) of what stands for the rest.
        sign = np.concatenate([np.ones(len(codes)), -np.ones(len(drawn))])
        counts = np.concatenate([weights, drawn])

        def look(x: np.ndarray, scores: np.ndarray) -> tuple[float, Callable[[], np.ndarray]]:
            signed = sign * scores
            small = np.exp(-np.abs(signed))
            value = -float(counts @ (np.log1p(small) + np.maximum(-signed, 0))) - s["decay"] / 2 * float(x @ x)
            missed = np.where(signed > 0, small, 1) / (1 + small)  # 1 - σ(signed)
            return value, lambda: (counts * sign * missed) @ rows - s["decay"] * x

        total = weights.sum() + drawn.sum()
        direction = np.linalg.inv(total / 4 * self.square + s["decay"] * np.eye(self.square.shape[0]))
        return maximise(look, rows, offset, direction, s["steps"], FLAT)
