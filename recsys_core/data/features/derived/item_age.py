"""How long an item has been there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dataset import Dataset
from ._learnt import SECONDS_A_DAY, ItemNumbers


@dataclass(frozen=True, eq=False)
class ItemAge(ItemNumbers):
    """log(1 + days from its first interaction to the end of the training part)."""

    key = "item_age"
    label = "Age"
    help = "How long ago the item was first chosen. Helps where new items draw more, or where classics last."
    side = "item"
    needs = frozenset({"time"})

    @classmethod
    def numbers(cls, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        first = np.full(train.n_items, train.time.max())
        np.minimum.at(first, train.item, train.time)
        return [np.log1p((train.time.max() - first) / SECONDS_A_DAY)]
