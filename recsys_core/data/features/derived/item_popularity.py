"""How many have chosen an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dataset import Dataset
from ._learnt import ItemNumbers


@dataclass(frozen=True, eq=False)
class ItemPopularity(ItemNumbers):
    """log(1 + distinct users who chose it)."""

    key = "item_popularity"
    label = "Popularity"
    help = "How many users have chosen the item. Helps nearly everywhere: popular items are chosen more often."
    side = "item"

    @classmethod
    def numbers(cls, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        return [np.log1p(train.item_counts)]
