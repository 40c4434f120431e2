"""Fusion by votes: the first items of every part count by their place."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..lists import best_of
from ..normalise import mean_ranks, normalise
from ._fused import Fused


class RankFusion(Fused):
    """settings: rule ("reciprocal", "borda", "combmnz"), constant, depth, behind, weights (of similar items), labels."""

    key = "rank_fusion"

    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        had = self.had(history)
        votes = [self._votes(one, had) for one in raw]
        total = np.sum(votes, axis=0, dtype=np.float32)
        if self.settings["rule"] == "combmnz":
            total *= np.sum([vote > 0 for vote in votes], axis=0)
        mean = np.sum([np.clip(normalise(one, "minmax", had), 0, 1) for one in raw], axis=0, dtype=np.float32)[0] / len(raw)
        return np.where(total > 0, total, mean - np.float32(self.settings["behind"])).astype(np.float32)

    def _votes(self, scores: np.ndarray, had: np.ndarray) -> np.ndarray:
        """float32 (I,): what this part's vote is worth. Items that tie with one beyond the depth get none: which came first is chance."""
        depth, rule = self.settings["depth"], self.settings["rule"]
        hidden = np.where(had, -np.inf, scores)[0].astype(np.float32)
        width = min(depth, self.n_items)
        items, best = best_of(hidden, width)
        out = np.zeros(self.n_items, np.float32)
        if not len(items):
            return out
        places = mean_ranks(-best[None].astype(np.float64))[0]
        last = best[-1] if len(items) == width else -np.inf
        crowded = int(((hidden >= last) & (hidden > -np.inf)).sum()) > width
        voting = ~(crowded & (best == last))
        if rule == "combmnz":
            worth = np.maximum(np.clip(normalise(scores, "minmax", had)[0, items], 0, 1), np.finfo(np.float32).tiny)
        else:
            worth = depth + 1 - places if rule == "borda" else 1 / (self.settings["constant"] + places)
        out[items[voting]] = worth[voting]
        return out

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        """What each part's vote for the item is worth; the mean scores where none votes."""
        had = self.had(history)
        raw = self.raw(history)
        votes = np.array([self._votes(one, had)[item] for one in raw], np.float64)
        if not votes.any():
            votes = np.array([np.clip(normalise(one, "minmax", had)[0, item], 0, 1) for one in raw]) / len(raw)
        elif self.settings["rule"] == "combmnz":
            votes *= (votes > 0).sum()
        return list(zip(self.labels, votes.tolist(), strict=True))

    def similar(self, item: int) -> np.ndarray | None:
        from .weighted_sum import WeightedSum

        return WeightedSum.similar(self, item)

    @property
    def weights(self) -> np.ndarray:
        return np.asarray(self.settings["weights"], np.float32)
