"""Logistic matrix factorisation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Cost, Source
from .._portable import Portable
from .._vectors import cosines
from . import _params as shared
from ._factors import FactorModel, factor_bytes, log_popularity, mean_weight, raw_weights, single_threaded_blas
from ._fewer_factors import beside_a_constant
from ._fold_in import maximise, popularity_sample, positives

FOLD_IN_STEPS = 25
FOLD_IN_ITEMS = 512  # items that stand for the negatives in fold-in


class LMF(FactorModel):
    """The probability that a user takes an item is logistic in the product of their vectors.

    Source: Johnson 2014, Logistic Matrix Factorization for Implicit Feedback Data, eq. 3-5; AdaGrad of implicit.
    Differs: implicit samples the negatives, in proportion to their popularity and at most factors + 2 for
    each user and round (its cap reads the wrong dimension). So what it learns is relative to popularity, and
    part of log popularity is added back, as for BPR: without it the model loses to "most popular" on sparse
    data (MovieLens latest-small: NDCG@20 .14 against .17 and, corrected, .27, on validation).
    New users: Newton-like ascent on the user's part of the same objective, the negatives replaced by their
    expectation.
    Cost: a round takes about 8 × nnz × F operations, on one thread so that the same seed gives the same model.
    """

    key = "lmf"
    users_are_solved = False
    label = "Logistic MF"
    summary = "Learns the odds that a user takes an item. For clicks and counts, as a third view beside ALS and BPR."
    source = Source(
        "Johnson: Logistic Matrix Factorization for Implicit Feedback Data, NIPS workshop 2014",
        "https://web.stanford.edu/~rezab/nips2014workshop/submits/logmat.pdf",
    )

    class Params(Params):
        factors: int = shared.factors(16, le=512, tune=(8, 128, "log"))
        learning_rate: float = param(
            1.0, label="Learning rate", help="Size of a learning step; it shrinks by itself (AdaGrad).", gt=0, le=10, tune=(0.1, 2, "log")
        )
        regularization: float = shared.regularization(2.0, le=1000, tune=(0.3, 10, "log"))
        iterations: int = shared.iterations(60, le=5000, tune=(20, 200, "log"), fast=30, thorough=120, label="Rounds over the data")
        negatives: int = param(
            30,
            label="Negatives per interaction",
            help="How many items the user did not take are compared with each one taken.",
            ge=1,
            le=1000,
            tune=(1, 50, "log"),
            advanced=True,
        )
        weighting: Literal["binary", "log"] | Literal["auto"] = param(
            "auto",
            label="Weight of repeated interactions",
            help="Whether 100 plays count more than one: no (binary) or a little (log). Automatic: a little, but no for ratings.",
        )

        popularity_correction: float = shared.popularity_correction(0.5, (0, 1.2, "linear"))

    params: Params
    resolved: Params

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {"weighting": "binary" if stats.has_ratings else "log"}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.params
        drawn = stats.n_interactions + (stats.n_users + stats.n_items) * (p.factors + 2) / 2
        memory = 4 * factor_bytes(stats, p.factors + 2) + 36 * stats.n_interactions + 2**26
        return Cost(
            memory, 0.3 + p.iterations * drawn * (5e-8 + 6e-9 * p.factors), f"grows with interactions × {p.factors} factors; one thread"
        )

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        from implicit.cpu.lmf import LogisticMatrixFactorization

        p = self.resolved
        matrix = data.matrix("count").copy()
        self.weight_scale = mean_weight(matrix, p.weighting)
        matrix.data = self._weight(matrix.data).astype(np.float32)

        def after_round(number: int, seconds: float, *_: Any) -> None:
            left = p.iterations - number - 1
            ctx.report("fit", (number + 1) / p.iterations, epoch=number + 1, epochs=p.iterations, seconds_left=left * seconds)

        with single_threaded_blas():
            solver = LogisticMatrixFactorization(
                factors=p.factors,
                learning_rate=p.learning_rate,
                regularization=p.regularization,
                iterations=p.iterations,
                neg_prop=p.negatives,
                num_threads=1,  # every thread draws from a stream of its own: the result would depend on their number
                random_state=ctx.seed_for("lmf") % 2**32,
            )
            solver.fit(matrix, show_progress=False, callback=after_round)
        # implicit keeps the biases as columns: users (…, 1, user bias), items (…, item bias, 1).
        items, users = solver.item_factors, solver.user_factors
        bias = items[:, -2] + p.popularity_correction * log_popularity(data)
        self._learned(np.delete(users, -2, axis=1), np.delete(items, -2, axis=1), bias)
        untrained = np.flatnonzero((data.user_counts == 0) & (self._history_sizes() > 0))
        if len(untrained):
            self.user_factors[untrained] = self._fold_in(data.histories(untrained))

    def _weight(self, values: np.ndarray) -> np.ndarray:
        return raw_weights(values, self.resolved.weighting) / self.weight_scale

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """Per row: max_x  Σ_i∈h c_i log σ(s_i) + N E_j~q[log(1 - σ(s_j))] - ½ λ |x|², s = x·y + b, as in training.

        N is the number of negatives implicit draws for a user; the last column is the user's bias.
        """
        p = self.resolved
        sample, weight = popularity_sample(self.fitted.item_counts / max(1, self.fitted.item_counts.sum()), FOLD_IN_ITEMS)
        all_items = self.item_factors.astype(np.float64)
        bias = self.item_bias - p.popularity_correction * log_popularity(self.fitted)
        vectors, offset = all_items[sample], bias[sample]
        known = positives(histories, self.fitted)
        confidence = self._weight(known.data)
        n_negative = np.minimum(np.diff(known.indptr) * p.negatives, p.factors + 2).astype(np.float64)[:, None] * weight
        decay = max(p.regularization, 1e-3)

        def objective(x: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
            part = known[rows]
            row = np.repeat(np.arange(len(x)), np.diff(part.indptr))
            weights = confidence[known.indptr[rows.start] : known.indptr[rows.stop]]
            score = np.einsum("nf,nf->n", x[row], all_items[part.indices]) + bias[part.indices]
            taken = sparse.csr_matrix((weights / (1 + np.exp(score)), part.indices, part.indptr), shape=part.shape)
            other = x @ vectors.T + offset
            value = -np.bincount(row, weights * np.logaddexp(0, -score), minlength=len(x))
            value -= (n_negative[rows] * np.logaddexp(0, other)).sum(axis=1) + decay / 2 * (x * x).sum(axis=1)
            return value, taken @ all_items - (n_negative[rows] / (1 + np.exp(-other))) @ vectors - decay * x

        total = confidence.sum() / max(1, len(histories)) + n_negative.sum() / max(1, len(histories))
        curvature = total / 4 * (vectors * weight[:, None]).T @ vectors + decay * np.eye(vectors.shape[1])
        return maximise(objective, (len(histories), all_items.shape[1]), curvature, FOLD_IN_STEPS, width=len(sample))

    def _portable(self) -> Portable:
        p, counts = self.resolved, self.fitted.item_counts
        settings = {
            "weighting": p.weighting,
            "weight_scale": self.weight_scale,
            "negatives": p.negatives,
            "most_negatives": p.factors + 2,
            "sample": FOLD_IN_ITEMS,
            "steps": FOLD_IN_STEPS,
            "decay": max(p.regularization, 1e-3),
            "constant": True,
        }
        relative = self.item_bias - p.popularity_correction * log_popularity(self.fitted)
        return self._factors_portable("lmf", settings, relative=relative, share=counts / max(1, counts.sum()))

    def _turn_to(self, keep: int) -> np.ndarray:
        return beside_a_constant(self.user_factors, self.item_factors, keep)

    def _similar(self, items: np.ndarray) -> np.ndarray:
        return cosines(self.item_factors[:, :-1], items)  # the last column is the constant that carries the user's bias
