"""Factorisation with features: the vector of an item or user is a sum of the embeddings of its features and of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Cost, Explanation, Need, Source, block_bytes
from .._features import SideFeatures
from .._portable import Portable
from ..cf import _params as shared
from ..cf._factors import FactorModel, auto_factors, factor_bytes, mean_weight, noise_level, raw_weights
from ..cf._fold_in import positives, weighted_ridge
from ..cf._params import Weighting
from ._content import READ, UNREAD, WIDEST, ItemVectors, item_table


class FeatureMfParams(Params):
    factors: int | Literal["auto"] = shared.factors(fast=16)
    regularization: float | Literal["auto"] = shared.regularization("auto", le=100_000, tune=(0.5, 200, "log"))
    feature_regularization: float = param(
        0.02,
        label="Regularisation of features",
        help="How strongly the embeddings of features are held back, beside the length of the features. Raise it for many rare features.",
        gt=0,
        le=1_000,
        tune=(0.001, 1, "log"),
    )
    own: bool = param(
        True,
        label="Own embedding",
        help="Whether items with interactions have an embedding of their own beside those of their features; without, features are all.",
    )
    alpha: float = param(
        4.0,
        label="Confidence of an interaction",
        help="How much more an observed interaction counts than an unobserved one.",
        gt=0,
        le=10_000,
        tune=(0.5, 40, "log"),
    )
    weighting: Weighting = shared.weighting()
    iterations: int = shared.iterations(15, le=200, tune=(5, 40, "linear"), fast=8, thorough=25)
    fields: Literal["categories and text", "categories", "everything"] = param(
        "everything", label="Columns read", help="Which kinds of columns of the user and item tables have embeddings."
    )


class FeatureMf(FactorModel):
    """Score = p_u · q_i with q_i = Σ features' embeddings + own embedding (0 for an item nobody chose); users alike.

    Source: Kula (2015), "Metadata Embeddings for User and Item Cold-start Recommendations", https://arxiv.org/abs/1507.08439, eq. 1.
    Differs: fitted by alternating least squares on all pairs (confidence as in Hu, Koren, Volinsky 2008) instead of steps on samples:
    each vector is solved with its features' sum as the centre of its penalty λ|q - Σe|², then the embeddings by ridge regression
    with an intercept: no learning rate, the same answer every time. No biases: the intercept's embedding takes their place.
    New items: their features' sum. New users: solved from their history, with their table row as the centre where it is known.
    Shapes: item_factors (I, F), user_factors (U, F), of_items and of_users: what features alone give, the same shapes.
    Cost: an iteration takes 4 × nnz × F² + (U + I) × (F³ / 3 + m × F) operations, m numbers of features, at most 512.
    """

    key = "feature_mf"
    label = "Factorisation with features"
    family = "Features"
    summary = "Learns tastes and what columns say of them at once; prefer it where both new items and new users must be served."
    source = Source(
        "Kula (2015), Metadata Embeddings for User and Item Cold-start Recommendations, CBRecSys", "https://arxiv.org/abs/1507.08439"
    )
    needs = frozenset({Need.ITEM_TABLE})
    reads_features = True
    Params = FeatureMfParams
    of_users: np.ndarray | None  # what the user table says of each user; None: nothing

    @classmethod
    def unread_kinds(cls, params: FeatureMfParams) -> tuple[str, ...]:
        return UNREAD[params.fields]

    @classmethod
    def auto_params(cls, params: FeatureMfParams, stats: DatasetStats) -> dict[str, Any]:
        return {
            "factors": auto_factors(stats, largest=64),
            "regularization": float(f"{max(0.1, 2.2 * noise_level(stats)):.3g}"),
            "weighting": "binary" if stats.has_ratings else "log",
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p, n = self.resolve(stats), stats.n_users + stats.n_items
        operations = p.iterations * (4 * stats.n_interactions * p.factors**2 + n * (p.factors**3 + 2 * WIDEST * p.factors))
        sides = stats.n_items + (stats.n_users if stats.has_user_table else 0)
        memory = 4 * factor_bytes(stats, p.factors) + 24 * sides * WIDEST + 48 * stats.n_interactions + 2**27 + block_bytes(stats)
        return Cost(memory, 0.5 + operations / 1e10, f"grows with interactions × {p.factors}² factors × {p.iterations} iterations")

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        p = self.resolved
        read = SideFeatures.fit(data, ctx.part("Reading the tables", 0.0, 0.1), without=UNREAD[p.fields])
        item_table(read)  # raises where there is none
        features = {side: ItemVectors.of(table, READ[p.fields]).short(ctx.rng(side)) for side, table in read.tables.items()}
        self.notes += read.notes()[:1]
        chosen = data.matrix("count")
        self.weight_scale = mean_weight(chosen, p.weighting)
        by_item, rng = chosen.T.tocsr(), ctx.rng("feature_mf")
        items = rng.normal(0, 0.1 / np.sqrt(p.factors), (data.n_items, p.factors)).astype(np.float32)
        of_items, of_users, users = np.zeros_like(items), np.zeros((data.n_users, p.factors), np.float32), None
        for iteration in range(p.iterations):
            ctx.report("fit", 0.1 + 0.85 * iteration / p.iterations, epoch=iteration + 1, epochs=p.iterations)
            users = self._solved(chosen, items, of_users, ctx)
            of_users = self._from_features(features.get("user"), users, np.diff(chosen.indptr) > 0)
            items = self._solved(by_item, users, of_items, ctx)
            of_items = self._from_features(features["item"], items, np.diff(by_item.indptr) > 0)
            if not p.own:
                items = of_items
        self.of_users = of_users if "user" in features else None
        items = np.where((data.item_counts > 0)[:, None], items, of_items)
        self._learned(users, items)
        histories = data.histories()
        self._learned(self._solve(histories, self._centres(np.arange(data.n_users)), ctx), items)

    def _learned(self, user_factors: np.ndarray, item_factors: np.ndarray, item_bias: np.ndarray | None = None) -> None:
        super()._learned(user_factors, item_factors, item_bias)
        self._gram = self._square(self.item_factors)
        self.reads_user_table = self.of_users is not None

    def _square(self, vectors: np.ndarray) -> np.ndarray:
        wide = vectors.astype(np.float64)
        return wide.T @ wide + self.resolved.regularization * np.eye(wide.shape[1])

    def _extra(self, values: np.ndarray) -> np.ndarray:
        """What the confidence of an interaction has above an unobserved pair's 1."""
        return self.resolved.alpha * raw_weights(values, self.resolved.weighting) / self.weight_scale

    def _solved(self, matrix: sparse.csr_matrix, others: np.ndarray, centres: np.ndarray, ctx: RunContext | None = None) -> np.ndarray:
        """float32 (B, F): the vectors of the rows beside the vectors of the columns; the centre itself for a row without entries."""
        square = self._square(others)
        pull = self.resolved.regularization * centres
        out = weighted_ridge(others, square, matrix, self._extra, lambda values, _: 1 + self._extra(values), ctx, pull=pull)
        return np.where((np.diff(matrix.indptr) > 0)[:, None], out, centres)

    def _from_features(self, features: np.ndarray | None, vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
        """float32 (n, F): sums of the features' embeddings and the intercept, learnt from the rows that are known."""
        if features is None or not known.any():
            return np.zeros_like(vectors)
        middle, level = features[known].mean(axis=0), vectors[known].mean(axis=0)
        centred = features[known] - middle
        square = centred.T @ centred
        penalty = self.resolved.feature_regularization * max(float(np.trace(square)), 1e-12)
        embeddings = np.linalg.solve(square + penalty * np.eye(len(square)), centred.T @ (vectors[known] - level))
        return (level + (features - middle) @ embeddings).astype(np.float32)

    # ---- scoring ---------------------------------------------------------------------------------
    def _centres(self, users: np.ndarray) -> np.ndarray:
        """float32 (B, F): what is known of users without their histories; 0 where nothing is."""
        if self.of_users is None:
            return np.zeros((len(users), self.item_factors.shape[1]), np.float32)
        return np.where((users >= 0)[:, None], self.of_users[users], self.of_users.mean(axis=0)).astype(np.float32)

    def _solve(self, histories: Histories, centres: np.ndarray, ctx: RunContext | None = None) -> np.ndarray:
        return self._solved(positives(histories, self.fitted), self.item_factors, centres, ctx)

    def _fold_in(self, histories: Histories) -> np.ndarray:
        return self._solve(histories, self._centres(np.full(len(histories), -1)))

    def _table_scores(self, histories: Histories, users: np.ndarray) -> np.ndarray:
        return self._queries(self._solve(histories, self._centres(users))) @ self._catalogue.T

    def _portable(self) -> Portable:
        p = self.resolved
        settings = {"alpha": p.alpha, "weighting": p.weighting, "weight_scale": self.weight_scale, "regularization": p.regularization}
        centre = {} if self.of_users is None else {"centre": self._centres(np.array([-1]))[0]}
        return self._factors_portable("als", settings | {"reads_users": self.reads_user_table}, **centre)

    def _turned(self, turn: np.ndarray) -> None:
        self.of_users = None if self.of_users is None else self.of_users @ turn

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        row = positives(history, self.fitted)
        extra = self._extra(row.data).astype(np.float64)
        vectors = self.item_factors[row.indices].astype(np.float64)
        solved = np.linalg.solve(self._gram + (vectors * extra[:, None]).T @ vectors, self.item_factors[item].astype(np.float64))
        parts = (1 + extra) * (vectors @ solved)
        method = "The score is a sum of one part for each item of the history"
        centre = self._centres(np.array([-1 if user is None else user]))[0]
        of_user = self.resolved.regularization * float(centre @ solved)
        if of_user == 0:
            return Explanation.of_history(row.indices, parts, k, f"{method}.")
        # -1 stands for the user's columns: all together are one part more
        told = Explanation.of_history(np.append(row.indices, -1), np.append(parts, of_user), k, f"{method} and one for the user's columns.")
        refs = tuple("all columns of the user" if ref == -1 else ref for ref in told.refs)
        return replace(told, kind="mixed", refs=refs, sorts=tuple("user feature" if ref == -1 else "history" for ref in told.refs))

    def _state(self) -> dict[str, Any]:
        return super()._state() | ({} if self.of_users is None else {"of_users": self.of_users})

    def _restore(self, state: dict[str, Any]) -> None:
        self.of_users = state.get("of_users")
        super()._restore(state)
