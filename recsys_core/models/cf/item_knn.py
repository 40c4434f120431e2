"""Item nearest neighbours: items that the same users chose."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from .._base import BATCH_BYTES, Cost, Explanation, Recommender, Source
from ._neighbours import (
    BLOCK_ENTRIES,
    ValueUse,
    auto_neighbours,
    explain_by_weights,
    fill_by_popularity,
    folded,
    inverse_frequency,
    item_neighbours,
    pairs_within,
    positives,
    weigh,
)


class ItemKnnParams(p.Params):
    neighbours: int | Literal["auto"] = p.param(
        "auto",
        label="Neighbours",
        help="How many of the most similar items speak for an item. Auto chooses by the size of the catalogue.",
        ge=1,
        le=5_000,
        tune=(20, 1_000, "log"),
    )
    similarity: Literal["asymmetric", "cosine"] = p.param(
        "asymmetric",
        label="Similarity",
        help="How shared users are set against popularity: cosine is even-handed, asymmetric leans to popular or to rare items.",
    )
    alpha: float = p.param(
        0.35,
        label="Lean of the asymmetric similarity",
        help="Only for asymmetric: 0.5 is the cosine; lower values favour popular items, higher values rare ones.",
        ge=0,
        le=1,
        tune=(0, 1, "linear"),
        advanced=True,
    )
    weighting: Literal["none", "user_idf", "tfidf", "bm25"] = p.param(
        "tfidf",
        label="Weight of users",
        help="Users who chose a bit of everything say little about which items belong together. All but 'none' let them count less.",
    )
    shrinkage: float = p.param(
        10.0,
        label="Shrinkage",
        help="Pulls similarities that rest on few shared users towards zero. 0 turns it off.",
        ge=0,
        le=10_000,
        tune=(0, 200, "linear"),
    )
    values: ValueUse = p.param(
        "ignore",
        label="Use of counts and ratings",
        help="Whether a larger count or rating counts for more: ignore it, use its logarithm, or use it as it is.",
        advanced=True,
    )
    k1: float = p.param(
        1.2,
        label="BM25 K1",
        help="Only for bm25: how soon a repeated interaction stops adding.",
        gt=0,
        le=1_000,
        tune=(0.1, 100, "log"),
        advanced=True,
    )
    b: float = p.param(
        0.75,
        label="BM25 B",
        help="Only for bm25: how much an item's popularity is discounted.",
        ge=0,
        le=1,
        tune=(0, 1, "linear"),
        advanced=True,
    )


class ItemKnn(Recommender):
    """Score of an item = sum of its similarities to the items of the history.

    Source: Deshpande & Karypis (2004), "Item-Based Top-N Recommendation Algorithms", ACM TOIS 22(1),
    https://doi.org/10.1145/963770.963776; asymmetric cosine: Aiolli (2013), https://doi.org/10.1145/2507157.2507189;
    user-IDF: Breese et al. (1998), https://arxiv.org/abs/1301.7363.
    Differs: the neighbours kept are those of the item to be scored, so that rare items keep theirs;
    weights are scaled to a mean square of 1, so that a shrinkage means the same under every weighting.
    Shapes: weights csr (I, I): row = item of the history, column = item scored.
    Cost: time grows with the sum of squared history lengths; 12 bytes x I x neighbours.
    """

    key = "item_knn"
    label = "Item neighbours"
    family = "Neighbourhood"
    summary = "Fast, easy to explain, and hard to beat on dense data; a good partner in a fusion."
    source = Source(
        "Deshpande & Karypis (2004), Item-Based Top-N Recommendation Algorithms, ACM TOIS", "https://doi.org/10.1145/963770.963776"
    )
    Params = ItemKnnParams

    @classmethod
    def auto_params(cls, params: ItemKnnParams, stats: DatasetStats) -> dict[str, Any]:
        return {"neighbours": auto_neighbours(stats.n_items)}

    def cost(self, stats: DatasetStats) -> Cost:
        neighbours = min(self.resolve(stats).neighbours, stats.n_items)
        pairs = pairs_within(stats.n_interactions, stats.n_users)
        return Cost(
            24 * stats.n_items * neighbours + 40 * BLOCK_ENTRIES + 40 * stats.n_interactions + BATCH_BYTES,
            0.1 + 2e-8 * pairs + 1e-7 * min(pairs, stats.n_items**2),
            "pairs of items within one history",
        )

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params = self.resolved
        items = positives(data, params.values).T.tocsr()
        mean_length = items.sum() / max(1, items.shape[0])
        scheme = {"user_idf": "idf"}.get(params.weighting, params.weighting)
        items = weigh(items, scheme, inverse_frequency(items), mean_length, params.k1, params.b)
        lean = params.alpha if params.similarity == "asymmetric" else 0.5
        self._weights = item_neighbours(items, params.neighbours, lean, params.shrinkage, ctx)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        history = folded(histories, self.fitted, self.resolved.values)
        return fill_by_popularity((history @ self._weights).toarray(), self._popularity())

    def _similar(self, items: np.ndarray) -> np.ndarray:
        scores = self._weights.tocsc()[:, items].T.toarray()
        return np.where(scores > 0, scores, -np.inf)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        entries = folded(history, self.fitted, self.resolved.values)
        column = self._weights[:, [item]].toarray().ravel()
        method = "How similar each item of the history is to this one; they add up to the score."
        return explain_by_weights(entries, column, k, method)

    def _state(self) -> dict[str, Any]:
        return {"weights": self._weights}

    def _restore(self, state: dict[str, Any]) -> None:
        self._weights = state["weights"]
