"""Item nearest neighbours: items that the same users chose."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.holdout import Holdout
from .._base import Source
from .._portable import Portable
from .._updating import changed_users
from . import _params as shared
from ._item_to_item import ItemToItem, linked
from ._neighbours import auto_neighbours, inverse_frequency, item_neighbours, positives, weigh
from ._params import Similarity, ValueUse


class ItemKnnParams(p.Params):
    neighbours: int | Literal["auto"] = shared.neighbours(
        "How many of the most similar items speak for an item. Auto chooses by the size of the catalogue."
    )
    similarity: Similarity = shared.similarity(
        "asymmetric",
        "How shared users are set against popularity: cosine is even-handed, asymmetric leans to popular or to rare items.",
    )
    alpha: float = shared.lean(
        0.35,
        "Lean of the asymmetric similarity",
        "Only for asymmetric: 0.5 is the cosine; lower values favour popular items, higher values rare ones.",
    )
    weighting: Literal["none", "user_idf", "tfidf", "bm25"] = p.param(
        "tfidf",
        label="Weight of users",
        help="Users who chose a bit of everything say little about which items belong together. All but 'none' let them count less.",
    )
    shrinkage: float = shared.shrinkage()
    values: ValueUse = shared.value_use()
    k1: float = shared.bm25_k1()
    b: float = shared.bm25_b("an item's popularity")


class ItemKnn(ItemToItem):
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
    takes_new_items = True
    label = "Item neighbours"
    family = "Neighbourhood"
    summary = "Fast, easy to explain, and hard to beat on dense data; a good partner in a fusion."
    source = Source(
        "Deshpande & Karypis (2004), Item-Based Top-N Recommendation Algorithms, ACM TOIS", "https://doi.org/10.1145/963770.963776"
    )
    reason = "How similar each item of the history is to this one; they add up to the score."
    Params = ItemKnnParams

    @classmethod
    def auto_params(cls, params: ItemKnnParams, stats: DatasetStats) -> dict[str, Any]:
        return {"neighbours": auto_neighbours(stats.n_items)}

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        self._weights = self._count(data, ctx)

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        """Counts again for the items that users who did something since have in their histories; the others keep their neighbours.

        Differs from counting all again: items that share no user with what came since keep their links as they were counted, and the
        scale of the shrinkage and BM25's mean popularity moved a little."""
        data = self.fitted
        users = changed_users(before, data)
        had = before.matrix("binary")[users[users < before.n_users]].indices  # an item may have been taken back
        touched = np.union1d(data.matrix("binary")[users].indices, had)
        if not len(touched):
            return
        fresh = self._count(data, ctx, touched)
        kept = np.setdiff1d(np.arange(self._weights.shape[1]), touched)
        old = sparse.csr_matrix(self._weights[:, kept].T, shape=(len(kept), self._weights.shape[0]))
        old.resize(len(kept), data.n_items)
        order = np.argsort(np.concatenate([touched, kept, np.setdiff1d(np.arange(self._weights.shape[1], data.n_items), touched)]))
        missing = sparse.csr_matrix((data.n_items - len(touched) - len(kept), data.n_items), dtype=np.float32)
        self._weights = sparse.csr_matrix(sparse.vstack([fresh, old, missing], format="csr")[order].T.tocsr())

    def _count(self, data: Dataset, ctx: RunContext, scored: np.ndarray | None = None) -> sparse.csr_matrix:
        """csr (I, I) the weights; for some scored items (n,) alone: (n, I), a row a scored item."""
        params = self.resolved
        items = positives(data, params.values).T.tocsr()
        mean_length = items.sum() / max(1, items.shape[0])
        scheme = {"user_idf": "idf"}.get(params.weighting, params.weighting)
        items = weigh(items, scheme, inverse_frequency(items), mean_length, params.k1, params.b)
        lean = params.alpha if params.similarity == "asymmetric" else 0.5
        return item_neighbours(items, params.neighbours, lean, params.shrinkage, ctx, scored)

    def _portable(self) -> Portable:
        return self._weights_portable(values=self.resolved.values, similar_by="column")

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """What speaks for each item: those are the links that were kept for it."""
        return linked(self._weights[:, items].T)
