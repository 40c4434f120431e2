"""Bayesian personalised ranking."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Cost, Source
from .._portable import Portable
from . import _params as shared
from ._factors import FactorModel, factor_bytes, log_popularity, single_threaded_blas
from ._fold_in import maximise, popularity_sample, positives

FOLD_IN_STEPS = 25
FOLD_IN_ITEMS = 4096  # items that stand for the whole catalogue in fold-in
FOLD_IN_SHRINKAGE = 2.5  # × regularization: the softmax pulls harder than a sigmoid; set on validation data


class BPR(FactorModel):
    """Pairwise ranking: an item the user took should score above one the user did not.

    Source: Rendle, Freudenthaler, Gantner, Schmidt-Thieme 2009, BPR: Bayesian Personalized Ranking from
    Implicit Feedback, section 4; stochastic gradient descent of implicit, item biases included.
    Differs: implicit draws the negative item in proportion to its popularity, so what it learns is a score
    relative to popularity, log p(i | user) / q(i), and ranking by it alone is poor (NDCG@20 .19 on MovieLens
    100K). We add log q(i) back, the usual correction for sampled negatives (Yi et al. 2019, Sampling-Bias-
    Corrected Neural Modeling, eq. 3), times .75 because regularisation keeps the model from cancelling popularity fully.
    New users: corrected scores estimate log p(i | user), so their vector maximises the multinomial
    likelihood of the history with the item vectors fixed: a concave problem, solved by gradient ascent.
    Cost: an epoch takes about 10 × nnz × F operations, on one thread so that the same seed gives the same
    model. 64 thousand interactions × 64 factors × 100 epochs: 1.5 s.
    """

    key = "bpr"
    users_are_solved = False
    label = "BPR"
    summary = "Learns the order of items rather than their values. Worth a try on clicks and purchases without ratings."
    source = Source("Rendle et al.: BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009", "https://arxiv.org/abs/1205.2618")

    class Params(Params):
        factors: int = shared.factors(64, fast=32, thorough=128)
        learning_rate: float = param(
            0.03,
            label="Learning rate",
            help="Size of a learning step. Smaller is steadier but needs more rounds.",
            gt=0,
            le=1,
            tune=(0.005, 0.2, "log"),
        )
        regularization: float = shared.regularization(0.04, le=10, tune=(0.002, 0.2, "log"))
        iterations: int | Literal["auto"] = param(
            "auto",
            label="Rounds over the data",
            help="How often every interaction is visited. Auto: 150, fewer for more than 2 million interactions.",
            ge=1,
            le=5000,
            tune=(20, 400, "log"),
            fast=40,
            thorough=200,
        )
        popularity_correction: float = shared.popularity_correction(0.75, (0.3, 1.2, "linear"))

    params: Params
    resolved: Params

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {"iterations": int(np.clip(150 * np.sqrt(2e6 / max(1, stats.n_interactions)), 30, 150))}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        seconds = 0.3 + p.iterations * stats.n_interactions * (5e-8 + 3e-9 * p.factors)
        memory = 2 * factor_bytes(stats, p.factors + 1) + 24 * stats.n_interactions + 2**26
        return Cost(memory, seconds, f"grows with interactions × {p.factors} factors × {p.iterations} rounds; one thread")

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        p = self.resolved
        matrix = data.matrix("binary")

        def after_epoch(epoch: int, seconds: float, correct: int, skipped: int) -> None:
            drawn = max(1, matrix.nnz - skipped)
            ctx.report(
                "fit",
                (epoch + 1) / p.iterations,
                epoch=epoch + 1,
                epochs=p.iterations,
                metrics={"train_auc": correct / drawn},
                seconds_left=(p.iterations - epoch - 1) * seconds,
            )

        with single_threaded_blas():
            solver = BayesianPersonalizedRanking(
                factors=p.factors,
                learning_rate=p.learning_rate,
                regularization=p.regularization,
                iterations=p.iterations,
                num_threads=1,  # several threads race on the item vectors: not reproducible
                random_state=ctx.seed_for("bpr") % 2**32,
            )
            solver.fit(matrix.copy(), show_progress=False, callback=after_epoch)
        relative = solver.item_factors[:, -1]  # the bias relative to popularity
        bias = relative + p.popularity_correction * log_popularity(data)
        self._learned(solver.user_factors[:, :-1], solver.item_factors[:, :-1], bias)
        # Users without a relevant interaction were not trained: their vector is the one of their history.
        untrained = np.flatnonzero((data.user_counts == 0) & (self._history_sizes() > 0))
        if len(untrained):
            self.user_factors[untrained] = self._fold_in(data.histories(untrained))

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """Per row: max_x  mean_i∈h (x·y_i + b_i) - log Σ_j exp(x·y_j + b_j) - ½ λ |x|², b with the popularity share.

        Catalogues above 4,096 items are represented by quantiles of the popularity distribution.
        """
        popularity = log_popularity(self.fitted)
        bias = self.item_bias - self.resolved.popularity_correction * popularity
        sample, weight = popularity_sample(np.exp(popularity), FOLD_IN_ITEMS)
        vectors, offset = self.item_factors[sample].astype(np.float64), bias[sample] + np.log(weight)
        known = positives(histories, self.fitted)
        known.data[:] = 1
        mean = (known @ self.item_factors.astype(np.float64)) / np.maximum(np.diff(known.indptr), 1)[:, None]
        decay = max(FOLD_IN_SHRINKAGE * self.resolved.regularization, 1e-4)

        def objective(x: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
            scores = x @ vectors.T + offset
            top = scores.max(axis=1, keepdims=True)
            odds = np.exp(scores - top)
            total = odds.sum(axis=1, keepdims=True)
            value = (x * mean[rows]).sum(axis=1) - (top + np.log(total))[:, 0] - decay / 2 * (x * x).sum(axis=1)
            return value, mean[rows] - (odds / total) @ vectors - decay * x

        centre = weight @ vectors
        curvature = (vectors * weight[:, None]).T @ vectors - np.outer(centre, centre) + decay * np.eye(vectors.shape[1])
        return maximise(objective, mean.shape, curvature, FOLD_IN_STEPS, width=len(sample))

    def _portable(self) -> Portable:
        popularity = log_popularity(self.fitted)
        decay = max(FOLD_IN_SHRINKAGE * self.resolved.regularization, 1e-4)
        settings = {"sample": FOLD_IN_ITEMS, "steps": FOLD_IN_STEPS, "decay": decay}
        relative = self.item_bias - self.resolved.popularity_correction * popularity
        return self._factors_portable("bpr", settings, relative=relative, share=np.exp(popularity))
