"""A quota for the long tail: at least so many places to items that are not among the popular ones."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..params import Params, param
from ._base import Reranker, Shelf


class LongTailQuota(Reranker):
    """The best k candidates of which at least ceil(s · k) are long-tail items, in the order they had.

    Long tail: all but the fewest most popular items that hold 80 % of training interactions, as the metric has it. Where a
    user has fewer such candidates, all of them are shown. Shapes: items (B, C) -> columns (B, k). Cost: two passes and a sort.
    """

    key = "long_tail_quota"
    label = "Long-tail quota"
    summary = "Keeps a share of the places for items that are not among the popular ones; nothing else moves."
    aim = "long_tail_share"

    class Params(Params):
        strength: float = param(
            0.2, ge=0.0, le=1.0, tune=(0.0, 1.0, "linear"), label="Share of places", help="At least this share goes to the long tail."
        )

    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        there = items >= 0
        tail = there & (shelf.catalog.long_tail[np.maximum(items, 0)] > 0)
        quota = int(np.ceil(round(self.params.strength * min(k, items.shape[1]), 6)))
        kept = tail & (np.cumsum(tail, axis=1) <= quota)
        room = k - kept.sum(axis=1, keepdims=True)
        others = there & ~kept
        kept |= others & (np.cumsum(others, axis=1) <= room)
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        return np.where(np.take_along_axis(kept, order, axis=1), order, -1)
