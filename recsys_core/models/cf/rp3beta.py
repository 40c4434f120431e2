"""RP3beta: walks of three steps from a user over items and users, popular ends held back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.holdout import Holdout
from .._base import Source
from . import _params as shared
from ._item_to_item import ItemToItem
from ._neighbours import auto_neighbours, nearest, positives
from ._params import ValueUse


class Rp3betaParams(p.Params):
    alpha: float = p.param(
        0.7,
        label="Sharpness of the walk",
        help="Steps are taken with their probability to this power. Above 1 users and items with few links speak louder.",
        ge=0,
        le=3,
        tune=(0.3, 2, "linear"),
    )
    beta: float = p.param(
        0.5,
        label="Popularity discount",
        help="0 ranks by where walks end, which favours popular items; 1 divides by popularity and favours rare ones.",
        ge=0,
        le=2,
        tune=(0, 1, "linear"),
    )
    neighbours: int | Literal["auto"] = shared.neighbours(
        "To how many other items the walks from an item are followed. Auto chooses by the size of the catalogue."
    )
    values: ValueUse = shared.value_use("makes a step likelier")


class Rp3beta(ItemToItem):
    """Score of an item = probability that item -> user -> item walks from the history end there, / popularity^beta.

    Source: Paudel et al. (2017), "Updatable, Accurate, Diverse, and Scalable Recommendations for Interactive
    Applications", ACM TiiS 7(1), https://doi.org/10.1145/2955101; P3alpha: Cooper et al. (2014),
    https://doi.org/10.1145/2567948.2579244.
    Differs: exact products instead of sampled walks; of every item's walks the likeliest ends are kept.
    Shapes: weights csr (I, I): row = item of the history, column = item scored.
    Cost: time grows with the sum of squared history lengths; 12 bytes x I x neighbours.
    """

    key = "rp3beta"
    takes_new_items = True
    label = "RP3beta graph walk"
    family = "Graph"
    summary = "Among the best and cheapest on sparse data; the popularity discount reaches further into the catalogue."
    source = Source(
        "Paudel et al. (2017), Updatable, Accurate, Diverse, and Scalable Recommendations, ACM TiiS", "https://doi.org/10.1145/2955101"
    )
    reason = "How often walks from each item of the history end here; they add up to the score."
    Params = Rp3betaParams

    @classmethod
    def auto_params(cls, params: Rp3betaParams, stats: DatasetStats) -> dict[str, Any]:
        return {"neighbours": 2 * auto_neighbours(stats.n_items)}

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        self._fit(self.fitted, ctx, None)  # nothing is learnt here, only counted

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params = self.resolved
        users = positives(data, params.values)
        to_item = _steps(users, params.alpha)  # (U, I): user -> item
        to_user = _steps(users.T.tocsr(), params.alpha)  # (I, U): item -> user
        discount = np.maximum(data.item_counts, 1).astype(np.float32) ** -np.float32(params.beta)

        def discounted(source: np.ndarray, end: np.ndarray, reached: np.ndarray) -> np.ndarray:
            return np.where(source == end, 0, reached * discount[end])

        self._weights = nearest(to_user, to_item, params.neighbours, discounted, ctx)


def _steps(matrix: sparse.csr_matrix, alpha: float) -> sparse.csr_matrix:
    """Rows turned into probabilities of a step, to the power alpha."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    totals = np.bincount(row, weights=matrix.data, minlength=matrix.shape[0])
    data = (matrix.data / np.maximum(totals, 1e-12)[row]) ** alpha
    return sparse.csr_matrix((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
