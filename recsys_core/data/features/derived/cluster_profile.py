"""Which groups of items that go together somebody chooses from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._categories import shares
from ._clusters import clusters_of, named
from ._learnt import Learnt


@dataclass(frozen=True, eq=False)
class ClusterProfile(Learnt):
    """Shares of the relevant distinct items over co-occurrence clusters, drawn towards everybody's shares as a taste profile is."""

    key = "cluster_profile"
    label = "Taste by group"
    help = (
        "Which groups of items, found from who chooses what, the user chooses from. "
        "Helps nearly everywhere, most where the item table says little."
    )
    side = "user"
    categorical = True
    groups: list[str]
    threshold: float | None
    table: sparse.csr_matrix  # (I, K), one 1 a row
    usual: np.ndarray

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        cluster = clusters_of(train, rng)
        known = np.flatnonzero(cluster >= 0)
        shape = (train.n_items, int(cluster.max()) + 1)
        table = sparse.csr_matrix((np.ones(len(known), np.float32), (known, cluster[known])), shape=shape)
        usual = train.item_counts @ table.astype(np.float64)
        return cls(named(cluster, train, items), train.threshold, table, (usual / usual.sum()).astype(np.float32))

    @property
    def names(self) -> list[str]:
        return self.groups

    def of_histories(self, histories: Histories) -> np.ndarray:
        return shares(histories, self.table, self.usual, self.threshold)
