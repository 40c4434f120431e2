"""How an item is rated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dataset import Dataset
from ._learnt import ItemNumbers

PRIOR = 5.0  # ratings' worth of all items'


@dataclass(frozen=True, eq=False)
class ItemRating(ItemNumbers):
    """Mean and deviation of its ratings, drawn towards those of all ratings as if by five more."""

    key = "item_rating"
    label = "Average rating"
    help = "How high the item is rated on average and how far opinions differ. Helps to put liked items before merely known ones."
    side = "item"
    needs = frozenset({"ratings"})
    columns = ("mean", "spread")

    @classmethod
    def numbers(cls, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        value = train.value.astype(np.float64)
        n = np.bincount(train.item, minlength=train.n_items)
        own = np.bincount(train.item, value, minlength=train.n_items) / np.maximum(n, 1)
        squares = np.bincount(train.item, (value - own[train.item]) ** 2, minlength=train.n_items)
        mean = (n * own + PRIOR * value.mean()) / (n + PRIOR)
        return [mean, np.sqrt((squares + PRIOR * value.var()) / (n + PRIOR))]
