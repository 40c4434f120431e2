"""Each user is served by one part, chosen by how many items their history holds."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Stored
from ._fused import Fused
from .weighted_sum import WeightedSum


class Switching(Fused):
    """settings: limits (the most items of each segment but the last), serves (the part of each segment), weights, labels."""

    key = "switching"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.weights = np.asarray(self.settings["weights"], np.float32)

    def serving(self, history: History) -> int:
        """The number of the part."""
        segment = int(np.searchsorted(self.settings["limits"], len(np.unique(history.items)), side="left"))
        return int(self.settings["serves"][segment])

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        return np.array(self.of_part(self.parts[self.serving(history)], history, user), np.float32)

    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        return raw[self.serving(history)][0]

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool] | None:
        return self.parts[self.serving(history)].shares(item, history)

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        """One part says it all."""
        return [(label, float(place == self.serving(history))) for place, label in enumerate(self.labels)]

    def similar(self, item: int) -> np.ndarray | None:
        return WeightedSum.similar(self, item)
