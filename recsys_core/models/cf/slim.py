"""SLIM: a sparse, non-negative regression of every item on its likeliest neighbours."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.holdout import Holdout
from .._base import Cost, Source
from .._card import block_bytes
from . import _params as shared
from ._item_to_item import ItemToItem
from ._neighbours import gram, inverse_frequency, item_neighbours, pairs_within, positives, product_bytes, weigh
from ._params import ValueUse

DENSE_GRAM_BYTES = 2**30  # above this the Gram matrix is computed candidate set by candidate set


class SlimParams(p.Params):
    l1: float = p.param(
        1.0,
        label="Sparsity (L1)",
        help="Higher values keep fewer links between items: smaller, faster models that are easier to read.",
        gt=0,
        le=100_000,
        tune=(0.1, 20, "log"),
    )
    l2: float | Literal["auto"] = p.param(
        "auto",
        label="Regularization (L2)",
        help="Higher values trust only links between items that many users share. Auto chooses by the number of interactions per item.",
        ge=0,
        le=1_000_000,
        tune=(5, 2_000, "log"),
    )
    neighbours: int = p.param(
        100,
        label="Candidate neighbours",
        help="Only this many of the most similar items may speak for an item. More is slower and a little better.",
        ge=1,
        le=5_000,
        tune=(30, 500, "log"),
        fast=50,
        thorough=300,
    )
    values: ValueUse = shared.value_use()


class Slim(ItemToItem):
    """Item-item weights W >= 0 minimising ½|X - XW|² + ½ l2 |W|² + l1 |W|₁ with a zero diagonal, by coordinate descent.

    Source: Ning & Karypis (2011), "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM, eq. 3,
    https://doi.org/10.1109/ICDM.2011.134.
    Differs: an item is regressed on its nearest neighbours only (fsSLIM, section 4.4 there). scikit-learn's
    elastic net works on Gram matrices of the candidates, so a step does not depend on the number of users.
    Shapes: weights csr (I, I): row = item of the history, column = item scored.
    Cost: one small regression per item, about 1 ms at 100 candidates; 8 I² bytes of Gram matrix up to 1 GiB.
    """

    key = "slim"
    label = "SLIM"
    family = "Linear"
    summary = "Like EASE with few, non-negative links: easier to read, fits where the square of the catalogue does not."
    source = Source(
        "Ning & Karypis (2011), SLIM: Sparse Linear Methods for Top-N Recommender Systems, ICDM", "https://doi.org/10.1109/ICDM.2011.134"
    )
    reason = "The learnt weight from each item of the history to this one; they add up to the score."
    Params = SlimParams

    @classmethod
    def auto_params(cls, params: SlimParams, stats: DatasetStats) -> dict[str, Any]:
        mean = stats.n_interactions / max(1.0, (stats.n_users * stats.n_items) ** 0.5)
        return {"l2": float(f"{max(1.0, 25 * mean**0.5):.2g}")}

    def cost(self, stats: DatasetStats) -> Cost:
        candidates = min(self.params.neighbours, stats.n_items)
        pairs = pairs_within(stats.n_interactions, stats.n_users)
        return Cost(
            int(
                min(8 * stats.n_items**2, DENSE_GRAM_BYTES)
                + 48 * stats.n_items * candidates
                + product_bytes(stats.n_items)
                + block_bytes(stats)
            ),
            0.5 + 4e-8 * pairs + stats.n_items * (3e-4 + 4e-8 * candidates**2),
            "one regression per item",
        )

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params, matrix = self.resolved, positives(data, self.resolved.values)
        items = matrix.T.tocsr()
        tfidf = weigh(items, "tfidf", inverse_frequency(items), 1.0, 1.0, 0.0)
        near = item_neighbours(tfidf, params.neighbours, 0.35, 0.0, ctx.part("Candidates", 0.0, 0.1)).tocsc()
        products = _Products(matrix, ctx.part("Products", 0.1, 0.2))
        columns, values, sizes = [], [], np.zeros(data.n_items, np.int64)
        for item in range(data.n_items):
            if item % 64 == 0:
                ctx.report("Fitting items", 0.2 + 0.8 * item / data.n_items)
            candidates = near.indices[near.indptr[item] : near.indptr[item + 1]]
            if len(candidates) == 0:
                continue
            weights = _elastic_net(*products.of(candidates, item), params.l1, params.l2)
            kept = weights > 0
            columns.append(candidates[kept])
            values.append(weights[kept])
            sizes[item] = kept.sum()
        parts = (np.concatenate(values or [np.empty(0)]).astype(np.float32), np.concatenate(columns or [np.empty(0, np.int32)]))
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        self._weights = sparse.csc_matrix((*parts, indptr), shape=(data.n_items, data.n_items)).tocsr()


class _Products:
    """Inner products of item columns: looked up where the whole Gram matrix fits, else computed when asked."""

    def __init__(self, matrix: sparse.csr_matrix, ctx: RunContext) -> None:
        self.columns = matrix.tocsc().astype(np.float64)
        small = 8 * matrix.shape[1] ** 2 <= DENSE_GRAM_BYTES
        self.gram = gram(matrix.astype(np.float64), ctx) if small else None

    def of(self, candidates: np.ndarray, item: int) -> tuple[np.ndarray, np.ndarray, float]:
        """(candidates, candidates), (candidates,) with the item, and of the item with itself."""
        if self.gram is not None:
            return self.gram[np.ix_(candidates, candidates)], self.gram[candidates, item], float(self.gram[item, item])
        chosen, one = self.columns[:, candidates], self.columns[:, [item]]
        return (chosen.T @ chosen).toarray(), (chosen.T @ one).toarray().ravel(), float(one.multiply(one).sum())


def _elastic_net(square: np.ndarray, with_item: np.ndarray, own: float, l1: float, l2: float) -> np.ndarray:
    """(candidates,) weights >= 0 of one regression.

    Given the Gram matrix, scikit-learn reads of X only its shape and of y only its length; so one row
    stands for all users, and its penalties, which are per row, are ours.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import enet_path

    shape_only = np.zeros((1, len(square)), order="F")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a link a hair off its optimum is of no consequence here
        _, weights, _ = enet_path(
            shape_only,
            np.array([np.sqrt(own)]),
            l1_ratio=l1 / (l1 + l2),
            alphas=[l1 + l2],
            precompute=np.ascontiguousarray(square),
            Xy=with_item,
            positive=True,
            check_input=False,
            max_iter=200,
            tol=1e-4,
        )
    return weights[:, 0]
