"""Candidates of some parts in the order of another."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..lists import best_of
from ._base import Stored
from ._fused import Fused
from .weighted_sum import WeightedSum


class Cascade(Fused):
    """settings: order (the part that orders), candidates (of each of the others), weights (of similar items), labels."""

    key = "cascade"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.weights = np.asarray(self.settings["weights"], np.float32)

    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        inside = self.had(history)[0]
        open_ = ~inside
        for place, one in enumerate(raw):
            if place != self.settings["order"]:
                found, _ = best_of(np.where(open_, one[0], -np.inf).astype(np.float32), self.settings["candidates"])
                inside[found] = True
        own = raw[self.settings["order"]][0].astype(np.float32)
        low, high = own.min(), own.max()
        behind = np.float32(1.001) * (high - low) + np.float32(1e-3) * max(np.float32(1), abs(high))
        return np.where(inside, own, own - behind).astype(np.float32)

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        """The place is decided by one part alone."""
        return [(label, float(place == self.settings["order"])) for place, label in enumerate(self.labels)]

    def similar(self, item: int) -> np.ndarray | None:
        return WeightedSum.similar(self, item)
