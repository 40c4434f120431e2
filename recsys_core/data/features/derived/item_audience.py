"""Who chooses an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dataset import Dataset
from ._learnt import ItemNumbers, percentiles

PRIOR = 5.0  # users' worth of everybody who chooses


@dataclass(frozen=True, eq=False)
class ItemAudience(ItemNumbers):
    """Means over the distinct users who chose it of their activity, log(1 + distinct items chosen), and of how mainstream they are.

    Drawn towards the mean over all choices as if by five more users: one user's habits are not an item's audience.
    """

    key = "item_audience"
    label = "Audience"
    help = "Whether heavy or light users choose the item, and whether they follow the crowd. Helps to tell a hit from an expert's find."
    side = "item"
    default = False  # rare items' audiences tell a model in training the very users it has to guess
    columns = ("activity", "mainstream")

    @classmethod
    def numbers(cls, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        chosen, n = train.matrix("binary"), train.user_counts
        of_user = np.column_stack([np.log1p(n), (chosen @ percentiles(train.item_counts)) / np.maximum(n, 1)])
        usual = (n @ of_user) / max(1, n.sum())
        total = chosen.T @ of_user
        mean = (total + PRIOR * usual) / (train.item_counts[:, None] + PRIOR)
        return list(mean.T)
