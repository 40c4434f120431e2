"""Bayesian personalised ranking: the vector of a user that makes their history likeliest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..history import History
from ._ascent import maximise, popularity_sample
from ._base import Stored
from ._factors import Factors

FLAT = 1e-9  # where the ascent ends: a score is then off by less than a ten-thousandth of the spread


class Likeliest(Factors):
    """x = max mean over the history of (x·y_i + b_i) - log Σ_j exp(x·y_j + b_j) - ½ λ |x|², b relative to popularity.

    settings: threshold; sample, steps, decay (λ) of the fold-in. Matrices: as `Factors`; relative float64 (I,), b;
    share float64 (I,), the popularity share. Cost: steps × 2 × sample × F.
    """

    key = "bpr"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        relative, share = stored.array("relative"), stored.array("share")
        sample, weight = popularity_sample(share, self.settings["sample"])
        self.offset = (relative[sample] + np.log(weight)).astype(np.float32)
        self.sampled = np.ascontiguousarray(self.items.take(sample))
        wide = self.sampled.astype(np.float64)
        centre = weight @ wide
        curvature = (wide * weight[:, None]).T @ wide - np.outer(centre, centre) + self.settings["decay"] * np.eye(wide.shape[1])
        self.direction = np.linalg.inv(curvature)

    def fold_in(self, history: History) -> np.ndarray:
        codes, _ = history.relevant(self.settings["threshold"]).row(binary=True)
        mean = self.items.weighted_sum(codes, np.full(len(codes), 1 / max(1, len(codes)))).astype(np.float64)
        decay, sampled = self.settings["decay"], self.sampled

        def look(x: np.ndarray, scores: np.ndarray) -> tuple[float, Callable[[], np.ndarray]]:
            top = float(scores.max())
            odds = np.exp(scores - np.float32(top))
            total = float(odds.sum(dtype=np.float64))
            value = float(x @ mean) - top - np.log(total) - decay / 2 * float(x @ x)
            return value, lambda: mean - (odds @ sampled) / total - decay * x

        return maximise(look, sampled, self.offset, self.direction, self.settings["steps"], FLAT)
