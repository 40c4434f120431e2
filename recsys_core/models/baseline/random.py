"""Items by lot: what chance alone would reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from .._base import Cost, Recommender
from .._card import block_bytes
from .._portable import Portable


class Random(Recommender):
    """A list of its own for every user, the same for the same seed.

    Differs: a score is a hash of (seed, user, item), not a draw, so it does not depend on which users are
    asked for together. For a history the hash of its items (order and repeats ignored) takes the user's place.
    Cost: nothing to learn; one hash per user and item.
    """

    key = "random"
    label = "Random"
    family = "Baseline"
    summary = "The floor: shows what each measure gives when nothing is known. Its coverage is the most there can be."
    personalised = False

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        self._seed = ctx.seed_for("random")

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._draw(_mix(users.astype(np.uint64) + np.uint64(1)))

    def _history_scores(self, histories: Histories) -> np.ndarray:
        present = histories.matrix(self.fitted.n_items)
        running = np.zeros(present.nnz + 1, np.uint64)  # wraps around, and so do the differences
        np.cumsum(_mix(present.indices.astype(np.uint64)), out=running[1:])
        return self._draw(_mix(running[present.indptr[1:]] - running[present.indptr[:-1]]))

    def _draw(self, rows: np.ndarray) -> np.ndarray:
        """uint64 (B,) -> float32 (B, I), even in [0, 1)."""
        items = _mix(np.arange(self.fitted.n_items, dtype=np.uint64) + np.uint64(self._seed))
        return ((_mix(rows[:, None] ^ items[None, :]) >> np.uint64(40)).astype(np.float32)) / np.float32(2**24)

    def cost(self, stats: DatasetStats) -> Cost:
        return Cost(3 * block_bytes(stats), 0.01, "nothing is learnt")

    def _portable(self) -> Portable:
        return Portable("random", settings={"seed": self._seed})

    def _state(self) -> dict[str, Any]:
        return {"seed": self._seed}

    def _restore(self, state: dict[str, Any]) -> None:
        self._seed = int(state["seed"])


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finisher: uint64 -> well spread uint64 (wraps on purpose)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
