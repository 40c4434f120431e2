"""Alternating least squares on implicit feedback."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Cost, Explanation, Source
from .._portable import Portable
from .._updating import changed_items, changed_users, grown
from . import _params as shared
from ._factors import FactorModel, auto_factors, factor_bytes, mean_weight, noise_level, raw_weights, single_threaded_blas
from ._fold_in import positives, weighted_ridge
from ._params import Weighting


class ALS(FactorModel):
    """Weighted matrix factorisation: every pair is fitted, observed ones with confidence 1 + alpha × weight.

    Source: Hu, Koren, Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets, eq. 3-5;
    fitted with the conjugate-gradient solver of implicit (Takács, Pilászy, Tikk 2011).
    Differs: after the last iteration all user vectors are solved exactly from the final item vectors, so
    a training user and a new user with the same history get the same list, and explanations are exact.
    Cost: an iteration takes about 24 × nnz × F + 12 × (U + I) × F² operations; memory 8 × (U + I) × F bytes
    beside two copies of the interactions. 20 million interactions × 64 factors: 4 s an iteration.
    """

    key = "als"
    takes_new_items = True
    label = "ALS"
    summary = "A fast, dependable all-rounder for clicks, plays and purchases, and one of the few that scales to millions of users."
    source = Source(
        "Hu, Koren, Volinsky: Collaborative Filtering for Implicit Feedback Datasets, 2008", "https://doi.org/10.1109/ICDM.2008.22"
    )

    class Params(Params):
        factors: int | Literal["auto"] = shared.factors(fast=16)
        regularization: float | Literal["auto"] = shared.regularization("auto", le=100_000, tune=(0.5, 200, "log"))
        alpha: float = param(
            4.0,
            label="Confidence of an interaction",
            help="How much more an observed interaction counts than an unobserved one.",
            gt=0,
            le=10_000,
            tune=(0.5, 40, "log"),
        )
        weighting: Weighting = shared.weighting()
        iterations: int = shared.iterations(15, le=500, tune=(5, 50, "linear"), fast=8, thorough=30)

    params: Params
    resolved: Params

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {
            "factors": auto_factors(stats),
            "regularization": float(f"{max(0.1, 2.2 * noise_level(stats)):.3g}"),
            "weighting": "binary" if stats.has_ratings else "log",
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        operations = p.iterations * (24 * stats.n_interactions * p.factors + 12 * (stats.n_users + stats.n_items) * p.factors**2)
        memory = 2 * factor_bytes(stats, p.factors) + 24 * stats.n_interactions + 2**26
        return Cost(memory, 0.3 + operations / 3e9, f"grows with interactions × {p.factors} factors × {p.iterations} iterations")

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        p = self.resolved
        weights = data.matrix("count")
        self.weight_scale = mean_weight(weights, p.weighting)
        confidence = weights.copy()
        confidence.data = (1 + self._extra_confidence(weights.data)).astype(np.float32)

        def after_iteration(iteration: int, seconds: float, loss: float) -> None:
            left = p.iterations - iteration - 1
            ctx.report(
                "fit",
                (iteration + 1) / p.iterations,
                epoch=iteration + 1,
                epochs=p.iterations,
                metrics={"loss": float(loss)},
                seconds_left=left * seconds,
            )

        with single_threaded_blas():
            solver = AlternatingLeastSquares(
                factors=p.factors,
                regularization=p.regularization,
                alpha=1.0,
                iterations=p.iterations,
                calculate_training_loss=True,
                num_threads=ctx.n_threads,
                random_state=ctx.seed_for("als") % 2**32,
            )
            solver.fit(confidence, show_progress=False, callback=after_iteration)
        self._learned(solver.user_factors, solver.item_factors)
        self._learned(self._solve(data.histories(), ctx), solver.item_factors)

    def _learned(self, user_factors: np.ndarray, item_factors: np.ndarray, item_bias: np.ndarray | None = None) -> None:
        super()._learned(user_factors, item_factors, item_bias)
        wide = self.item_factors.astype(np.float64)
        self._gram = wide.T @ wide + self.resolved.regularization * np.eye(wide.shape[1])

    def _extra_confidence(self, values: np.ndarray) -> np.ndarray:
        """alpha × weight (1 on average) of an interaction: what its confidence has above an unobserved pair's 1."""
        return self.resolved.alpha * raw_weights(values, self.resolved.weighting) / self.weight_scale

    def _solve(self, histories: Histories, ctx: RunContext | None = None) -> np.ndarray:
        known = positives(histories, self.fitted)
        extra = self._extra_confidence
        return weighted_ridge(self.item_factors, self._gram, known, extra, lambda values, _: 1 + extra(values), ctx)

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        """Half an iteration of the fit where something changed: users, then the items they touched with all users fixed, then users.

        Shapes: as in training, grown by the new users and items. Cost: (entries of what changed) × F² and two Gram matrices.
        """
        data, users, items = self.fitted, changed_users(before, self.fitted), changed_items(before, self.fitted)
        self._learned(self.user_factors, grown(self.item_factors, data.n_items))
        self._take_in_users(users)
        by_item = data.matrix("count").T.tocsr()[items]
        wide = self.user_factors.astype(np.float64)
        gram = wide.T @ wide + self.resolved.regularization * np.eye(wide.shape[1])
        extra = self._extra_confidence
        factors = self.item_factors.copy()
        factors[items] = weighted_ridge(self.user_factors, gram, by_item, extra, lambda values, _: 1 + extra(values), ctx)
        self._learned(self.user_factors, factors)
        self._take_in_users(users)

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """Eq. 4: x = (YᵀY + Yᵀ(C - 1)Y + λ)⁻¹ Yᵀ C p."""
        return self._solve(histories)

    def _portable(self) -> Portable:
        p = self.resolved
        settings = {"alpha": p.alpha, "weighting": p.weighting, "weight_scale": self.weight_scale, "regularization": p.regularization}
        return self._factors_portable("als", settings)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        """Section 5: the score is a sum over the history, Σ_j c_j · y_iᵀ W y_j with W = (Yᵀ C Y + λ)⁻¹."""
        row = positives(history, self.fitted)
        extra = self._extra_confidence(row.data).astype(np.float64)
        vectors = self.item_factors[row.indices].astype(np.float64)  # (n, F)
        system = self._gram + (vectors * extra[:, None]).T @ vectors
        contributions = (1 + extra) * (vectors @ np.linalg.solve(system, self.item_factors[item].astype(np.float64)))
        method = "The score is a sum of one part for each item of the history (Hu, Koren, Volinsky 2008, section 5)."
        return Explanation.of_history(row.indices, contributions, k, method)
