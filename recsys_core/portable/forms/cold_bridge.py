"""A model and, for items it has never seen chosen, a linear map from its scores of the others."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Stored
from ._fused import Fused


class ColdBridge(Fused):
    """new = S @ base + (S @ left) @ right over the scores S of the warm items, and `shift` deviations of them on top.

    Matrices: warm, new: int64 codes; base (n,), left (n, m), right (m, n_new). settings: shift, labels.
    """

    key = "cold_bridge"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.warm, self.new, self.base = (stored.array(name) for name in ("warm", "new", "base"))
        self.left, self.right = stored.array("left"), stored.array("right")

    def combine(self, raw: list[np.ndarray], history: History | None) -> np.ndarray:
        out = np.array(raw[0][0], np.float32)
        warm = out[self.warm]
        level = warm @ self.base
        out[self.new] = level + ((warm - level) @ self.left) @ self.right
        if self.settings["shift"]:
            out[self.new] += np.float32(self.settings["shift"]) * warm.std()
        return out

    def similar(self, item: int) -> np.ndarray | None:
        place = int(np.searchsorted(self.new, item))
        if place == len(self.new) or self.new[place] != item:
            found = self.parts[0].similar(item)
            return None if found is None else self.combine([np.nan_to_num(found, neginf=0.0)[None]], None)
        said = self.base + self.left @ self.right[:, place]
        strongest = np.argsort(-said, kind="stable")[: self.settings["explained"]]
        total = np.zeros(self.n_items, np.float32)
        for near in strongest:
            found = self.parts[0].similar(int(self.warm[near]))
            if found is None:
                return None
            total += said[near] * np.nan_to_num(found, neginf=0.0)
        return self.combine([total[None]], None)

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        return [(self.labels[0], 1.0)]
