"""Fusions that add up the normalised scores of their parts."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..normalise import normalise
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

    def similar(self, item: int) -> np.ndarray | None:
        total = None
        for weight, part in zip(self.weights, self.parts, strict=True):
            found = part.similar(item) if weight > 0 else None
            if found is not None:
                scaled = weight * normalise(np.nan_to_num(found, neginf=0.0)[None], "z")[0]
                total = scaled if total is None else total + scaled
        return total
