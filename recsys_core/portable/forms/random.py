"""Items by lot: a hash of the user or of their history, the same every time."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Form, Stored


class Lot(Form):
    """score_j = hash(user or the set of items of the history, j) in [0, 1). settings: seed."""

    key = "random"
    serves_nothing = True

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        seed = np.uint64(int(self.settings["seed"]) % 2**64)
        self.items = mixed(np.arange(len(stored.counts), dtype=np.uint64) + seed)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        if user >= 0:
            who = mixed(np.array([user + 1], np.uint64))
        else:
            who = mixed(mixed(np.unique(history.items).astype(np.uint64)).sum(keepdims=True, dtype=np.uint64))
        return (mixed(who ^ self.items) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finisher: uint64 -> well spread uint64 (wraps on purpose)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
