"""User nearest neighbours: what people with a similar history chose."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from .._base import Cost, Explanation, Recommender, Source
from .._card import block_bytes
from .._portable import Portable
from . import _params as shared
from ._neighbours import (
    auto_neighbours,
    fill_by_popularity,
    folded,
    inverse_frequency,
    nearest,
    pairs_within,
    positives,
    product_bytes,
    row_norms,
    weigh,
)
from ._params import Similarity, ValueUse


class UserKnnParams(p.Params):
    neighbours: int | Literal["auto"] = shared.neighbours(
        "How many of the most similar users speak for a user. Auto chooses by the number of users."
    )
    similarity: Similarity = shared.similarity(
        "cosine",
        "How shared items are set against long histories: cosine is even-handed, asymmetric leans to active or quiet neighbours.",
    )
    alpha: float = shared.lean(
        0.5,
        "Lean of the asymmetric similarity",
        "Only for asymmetric: 0.5 is the cosine; above it neighbours with long histories gain, below it short ones.",
    )
    weighting: Literal["none", "item_idf", "tfidf", "bm25"] = p.param(
        "tfidf",
        label="Weight of items",
        help="Sharing an item that everybody has says little. All but 'none' let popular items count less.",
    )
    shrinkage: float = shared.shrinkage("items")
    values: ValueUse = shared.value_use()
    k1: float = shared.bm25_k1()
    b: float = shared.bm25_b("a long history")


class UserKnn(Recommender):
    """Score of an item = sum of the similarities of those neighbours who have it.

    Source: Herlocker et al. (1999), "An Algorithmic Framework for Performing Collaborative Filtering", SIGIR,
    https://doi.org/10.1145/312624.312682; asymmetric cosine: Aiolli (2013), https://doi.org/10.1145/2507157.2507189;
    item-IDF: Breese et al. (1998), https://arxiv.org/abs/1301.7363.
    Differs: weights are scaled to a mean square of 1, so that a shrinkage means the same under every
    weighting. Neighbours are found when a list is asked for, so a new user is served like any other;
    a training user is not a neighbour of themselves.
    Shapes: users csr (U, I) weighted, votes csr (U, I).
    Cost: no fit; a list costs the sum of its items' users. 16 bytes x interactions.
    """

    key = "user_knn"
    takes_new_items = True
    label = "User neighbours"
    family = "Neighbourhood"
    summary = "Good where users are fewer than items or items change quickly; a new user needs no retraining."
    source = Source(
        "Herlocker et al. (1999), An Algorithmic Framework for Performing Collaborative Filtering, SIGIR",
        "https://doi.org/10.1145/312624.312682",
    )
    Params = UserKnnParams

    @classmethod
    def auto_params(cls, params: UserKnnParams, stats: DatasetStats) -> dict[str, Any]:
        return {"neighbours": auto_neighbours(stats.n_users)}

    def cost(self, stats: DatasetStats) -> Cost:
        pairs = pairs_within(stats.n_interactions, stats.n_items)
        return Cost(
            40 * stats.n_interactions + product_bytes(stats.n_users) + 2 * block_bytes(stats),
            0.1 + 2e-8 * pairs + 1e-7 * min(pairs, stats.n_users**2),
            "pairs of users of one item, when all lists are made",
        )

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        self._fit(self.fitted, ctx, None)  # nothing is learnt here, only counted

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params = self.resolved
        ctx.report("Weighting users", 0.0)
        self._votes = positives(data, params.values)
        self._idf = inverse_frequency(self._votes)
        self._mean_length = float(self._votes.sum() / max(1, (np.diff(self._votes.indptr) > 0).sum()))
        self._scale = 1.0
        raw = self._weighted(self._votes)
        self._scale = 1 / max(1e-9, float(np.sqrt(np.mean(raw.data**2))))
        self._prepare()

    def _prepare(self) -> None:
        self._users = self._weighted(self._votes)
        self._norms = row_norms(self._users)
        self._by_item = self._users.T.tocsr()

    def _weighted(self, rows: sparse.csr_matrix) -> sparse.csr_matrix:
        params = self.resolved
        scheme = {"item_idf": "idf"}.get(params.weighting, params.weighting)
        return weigh(rows, scheme, self._idf, self._mean_length, params.k1, params.b) * np.float32(self._scale)

    def _neighbours(self, rows: sparse.csr_matrix, users: np.ndarray | None) -> sparse.csr_matrix:
        """csr (B, U): the neighbours kept, with their similarity."""
        params = self.resolved
        lean = params.alpha if params.similarity == "asymmetric" else 0.5
        of_row, of_other = row_norms(rows) ** (2 * lean), self._norms ** (2 - 2 * lean)

        def similarity(row: np.ndarray, other: np.ndarray, dot: np.ndarray) -> np.ndarray:
            found = dot / (of_row[row] * of_other[other] + params.shrinkage)
            return found if users is None else np.where(users[row] == other, 0, found)

        return nearest(rows, self._by_item, params.neighbours, similarity)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._score_rows(self.fitted.histories(users), np.asarray(users))

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._score_rows(histories, None)

    def _score_rows(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        rows = self._weighted(folded(histories, self.fitted, self.resolved.values))
        return fill_by_popularity((self._neighbours(rows, users) @ self._votes).toarray(), self._popularity())

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        row = self._weighted(folded(history, self.fitted, self.resolved.values))
        near = self._neighbours(row, None if user is None else np.array([user]))
        # A similarity is a sum over shared items: each takes its part of dot(row, neighbour).
        voters = sparse.csr_matrix(near.multiply(self._votes[:, [item]].T))
        dots = np.asarray((self._users[voters.indices] @ row.T).todense()).ravel()
        share = np.asarray((voters.data / np.maximum(dots, 1e-12)) @ self._users[voters.indices]).ravel()
        method = (
            "How much of the likeness to neighbours who have this item rests on each item of the history; the parts add up to the score."
        )
        return Explanation.of_history(row.indices, row.data * share[row.indices], k, method)

    def _portable(self) -> Portable:
        p = self.resolved
        settings = {
            "threshold": self.fitted.threshold, "values": p.values, "scheme": {"item_idf": "idf"}.get(p.weighting, p.weighting),
            "k1": p.k1, "b": p.b, "mean_length": self._mean_length, "scale": self._scale, "shrinkage": p.shrinkage,
            "lean": p.alpha if p.similarity == "asymmetric" else 0.5, "neighbours": p.neighbours,
        }  # fmt: skip
        return Portable("user_knn", {"votes": self._votes, "idf": self._idf}, settings, made_of_users=True)

    def _state(self) -> dict[str, Any]:
        return {"votes": self._votes, "idf": self._idf, "mean_length": self._mean_length, "scale": self._scale}

    def _restore(self, state: dict[str, Any]) -> None:
        self._votes, self._idf = state["votes"], state["idf"]
        self._mean_length, self._scale = float(state["mean_length"]), float(state["scale"])
        self._prepare()
