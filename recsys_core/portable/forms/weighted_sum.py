"""Fusions that add up the normalised scores of their parts."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..normalise import normalise, unit_of
from ._base import Stored
from ._fused import Fused


class WeightedSum(Fused):
    """Σ w_p · z_p over the scale of the items the user has not had. settings: weights, normalization, labels."""

    key = "weighted_sum"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.weights = np.asarray(self.settings["weights"], np.float32)

    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        had, total = self.had(history), np.zeros(self.n_items, np.float32)
        for weight, one in zip(self.weights, raw, strict=True):
            total += weight * normalise(one, self.settings["normalization"], had)[0]
        return total

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        """Weight times normalised score; they add up to the score."""
        had = self.had(history)
        said = [float(normalise(one, self.settings["normalization"], had)[0, item]) for one in self.raw(history)]
        return [(label, float(weight) * one) for label, weight, one in zip(self.labels, self.weights, said, strict=True)]

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool] | None:
        """The parts' own shares, in units of how far the part's scores spread for this user, each times its weight. They differ from the
        score by the parts' levels (mean or least score), which belong to no entry, so they are never said to add up to it."""
        how = self.settings["normalization"]
        if how == "rank" or not len(history):
            return None
        had, total = self.had(history), np.zeros(len(history))
        for weight, part, one in zip(self.weights, self.parts, self.raw(history), strict=True):
            told = part.shares(item, history) if weight > 0 else (np.zeros(len(history)), True)
            if told is None:
                return None
            total += float(weight) * told[0] * unit_of(one, how, had)
        return total, False

    def similar(self, item: int) -> np.ndarray | None:
        total = None
        for weight, part in zip(self.weights, self.parts, strict=True):
            found = part.similar(item) if weight > 0 else None
            if found is not None:
                scaled = weight * normalise(np.nan_to_num(found, neginf=0.0)[None], "z")[0]
                total = scaled if total is None else total + scaled
        return total
