"""Which group of items an item belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ...dataset import Dataset
from ..encoder import FeatureTable
from ._clusters import clusters_of, named
from ._learnt import Learnt


@dataclass(frozen=True, eq=False)
class ItemCluster(Learnt):
    """The co-occurrence cluster (see `_clusters`), a flag for each."""

    key = "item_cluster"
    label = "Group"
    help = "Which group of items, found from who chooses what, the item belongs to. Helps where the item table says little."
    side = "item"
    categorical = True
    groups: list[str]
    cluster: np.ndarray  # int32 (I,), -1 where there is none

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        cluster = clusters_of(train, rng)
        return cls(named(cluster, train, items), cluster)

    @property
    def names(self) -> list[str]:
        return self.groups

    def of_items(self) -> np.ndarray:
        out = (self.cluster[:, None] == np.arange(len(self.groups))).astype(np.float32)
        out[self.cluster < 0] = np.nan
        return out
