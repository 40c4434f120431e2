"""Whether an item is coming or going."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dataset import Dataset
from ._learnt import ItemNumbers

LATE = 0.25  # the part of the training time that counts as late
PRIOR = 5.0  # interactions' worth of what is usual


@dataclass(frozen=True, eq=False)
class ItemTrend(ItemNumbers):
    """log of the share of its interactions in the last quarter of the training time over the share of all interactions there.

    The share is drawn towards that of all as if by five more interactions, so that one late interaction is no trend.
    """

    key = "item_trend"
    label = "Trend"
    help = "Whether the item was chosen more than usual in the last quarter of the time. Helps where popularity rises and falls."
    side = "item"
    needs = frozenset({"time"})

    @classmethod
    def numbers(cls, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        start, end = int(train.time.min()), int(train.time.max())
        late = train.time >= end - LATE * (end - start)
        usual = late.mean()
        n = np.bincount(train.item, minlength=train.n_items)
        share = (np.bincount(train.item[late], minlength=train.n_items) + PRIOR * usual) / (n + PRIOR)
        return [np.log(share / usual)]
