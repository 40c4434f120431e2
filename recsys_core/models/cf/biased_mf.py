"""Biased matrix factorisation of explicit ratings."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Cost, Need, Source
from .._portable import Portable
from .._vectors import cosines
from . import _params as shared
from ._factors import FactorModel, auto_factors, factor_bytes, noise_level, single_threaded_blas
from ._fewer_factors import beside_a_constant, principal
from ._fold_in import weighted_ridge

OBSERVED_WEIGHT = 4.0  # ranking: what a rated pair weighs more than an unrated one (as ALS's alpha)
SAMPLE = 200_000  # ratings the training error is reported on


class BiasedMF(FactorModel):
    """Predicts ratings: r = mean + user bias + item bias + p·q, each squared error regularised.

    Source: Koren, Bell, Volinsky 2009, Matrix Factorization Techniques for Recommender Systems, eq. 4-5; fitted by
    alternating least squares with the penalty times the number of ratings (Zhou et al. 2008, ALS-WR, eq. 5).
    Differs: biases are solved for together with the factors. A predicted rating says how well an item
    would be liked by somebody who chose it, and lists ranked by it are poor: obscure items lead. So lists
    come from a second set of factors that also fits unrated pairs, at the low end of the scale and with
    a smaller weight (Steck 2010, Training and Testing of Recommender Systems on Data Missing Not at
    Random, AllRank, eq. 3). ranking = "rating" ranks by the predicted rating, for comparison.
    Cost: an iteration takes 2 × nnz × F² + (U + I) × F³ / 3 operations, twice with ranking = "likely".
    """

    key = "biased_mf"
    label = "Biased MF"
    summary = "Predicts the rating itself (RMSE, MAE). Choose it when the expected number of stars matters, not only the order."
    source = Source(
        "Koren, Bell, Volinsky: Matrix Factorization Techniques for Recommender Systems, IEEE Computer 2009",
        "https://doi.org/10.1109/MC.2009.263",
    )
    needs = frozenset({Need.RATINGS})

    class Params(Params):
        factors: int | Literal["auto"] = shared.factors(le=256, tune=(8, 64, "log"), fast=8)
        regularization: float = param(
            0.15,
            label="Regularisation of tastes",
            help="How strongly tastes are held back from fitting chance, per rating.",
            gt=0,
            le=100,
            tune=(0.03, 0.5, "log"),
        )
        bias_regularization: float = param(
            0.05,
            label="Regularisation of averages",
            help="How strongly a user's or item's average is drawn to the overall mean, per rating.",
            gt=0,
            le=100,
            tune=(0.005, 0.3, "log"),
            advanced=True,
        )
        iterations: int = shared.iterations(12, le=500, tune=(5, 40, "linear"), fast=6, thorough=30)
        ranking: Literal["likely", "rating"] = param(
            "likely",
            label="Rank lists by",
            help="Likely: what the user would probably choose and rate well. Rating: predicted stars alone, which favours obscure items.",
        )

    params: Params
    resolved: Params
    mean: float
    rating_users: np.ndarray  # float32 (U, F + 1): p, then the user's bias
    rating_items: np.ndarray  # float32 (I, F + 1): q, then the constant 1
    rating_bias: np.ndarray  # float32 (I,): the item's bias

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {"factors": auto_factors(stats, largest=64)}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        f, heads = p.factors + 1, 2 if p.ranking == "likely" else 1
        operations = heads * p.iterations * (8 * stats.n_interactions * f**2 + (stats.n_users + stats.n_items) * (f**3 + 50 * f**2))
        memory = 2 * heads * factor_bytes(stats, f) + 48 * stats.n_interactions + 2**27
        return Cost(memory, 0.3 + operations / 1e10, f"grows with interactions × {f}² × {p.iterations} iterations")

    # ---- fitting ---------------------------------------------------------------------------------
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        ratings = data.matrix("value")
        by_item = ratings.T.tocsr()
        likely = self.resolved.ranking == "likely"
        with single_threaded_blas():
            self._fit_ratings(ratings, by_item, ctx.part("ratings", 0, 0.5 if likely else 1))
            if likely:
                self._fit_ranking(data, ratings, by_item, ctx.part("ranking", 0.5, 1))
            else:
                self._learned(self.rating_users, self.rating_items, self.rating_bias + self.mean)

    def _fit_ratings(self, ratings: sparse.csr_matrix, by_item: sparse.csr_matrix, ctx: RunContext) -> None:
        p, rng = self.resolved, ctx.rng("factors")
        self.mean = float(ratings.data.mean())
        self.rating_bias = np.zeros(ratings.shape[1], np.float32)
        start = rng.normal(0, 0.1, (ratings.shape[1], p.factors))
        self.rating_items = np.hstack([start, np.ones((len(start), 1))]).astype(np.float32)
        sample = rng.choice(ratings.nnz, min(SAMPLE, ratings.nnz), replace=False)
        row = np.searchsorted(ratings.indptr, sample, side="right") - 1
        for iteration in range(p.iterations):
            self.rating_users = self._solve(ratings, self.rating_items, self.rating_bias, ctx)
            users = np.hstack([self.rating_users[:, :-1], np.ones((len(self.rating_users), 1), np.float32)])
            items = self._solve(by_item, users, self.rating_users[:, -1], ctx)
            self.rating_bias = items[:, -1].copy()
            self.rating_items = np.hstack([items[:, :-1], np.ones((len(items), 1), np.float32)])
            error = ratings.data[sample] - self._rating(row, ratings.indices[sample])
            self._report(ctx, iteration, {"train_rmse": float(np.sqrt(np.mean(error**2)))})
        self.rating_users = self._solve(ratings, self.rating_items, self.rating_bias, ctx)

    def _solve(self, ratings: sparse.csr_matrix, vectors: np.ndarray, bias: np.ndarray, ctx: RunContext | None = None) -> np.ndarray:
        """One side given the other: ridge regression of r - mean - the other side's bias."""
        p = self.resolved
        ridge = np.append(np.full(p.factors, p.regularization), p.bias_regularization)
        return weighted_ridge(vectors, 0.0, ratings, np.ones_like, lambda values, columns: values - self.mean - bias[columns], ctx, ridge)

    def _fit_ranking(self, data: Dataset, ratings: sparse.csr_matrix, by_item: sparse.csr_matrix, ctx: RunContext) -> None:
        items = ctx.rng("factors").normal(0, 0.1, (ratings.shape[1], self.resolved.factors)).astype(np.float32)
        for iteration in range(self.resolved.iterations):
            users = self._solve_ranking(ratings, items, ctx)
            items = self._solve_ranking(by_item, users, ctx)
            self._report(ctx, iteration, {})
        self._learned(self._solve_ranking(ratings, items, ctx), items)

    def _solve_ranking(self, ratings: sparse.csr_matrix, vectors: np.ndarray, ctx: RunContext | None = None) -> np.ndarray:
        """One side given the other: rated pairs have their rating as target, on (0, 1], unrated ones 0."""
        values = self.fitted.value
        low, high = float(values.min()), float(values.max())
        step = (high - low) / 4 or 1.0  # the lowest rating is still one step above "unrated"
        wide = vectors.astype(np.float64)
        # As for ALS; here the average target is below 1, which leaves regularisation a little stronger.
        gram = wide.T @ wide + 2.2 * noise_level(self.fitted.stats) * np.eye(wide.shape[1])

        def targets(rating: np.ndarray, _: np.ndarray) -> np.ndarray:
            return (1 + OBSERVED_WEIGHT) * (rating - low + step) / (high - low + step)

        return weighted_ridge(vectors, gram, ratings, lambda rating: np.full(rating.shape, OBSERVED_WEIGHT), targets, ctx)

    def _report(self, ctx: RunContext, iteration: int, metrics: dict[str, float]) -> None:
        total = self.resolved.iterations
        ctx.report("fit", (iteration + 1) / total, epoch=iteration + 1, epochs=total, metrics=metrics)

    # ---- using -----------------------------------------------------------------------------------
    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Unknown users (-1) have the average taste, unknown items the average quality."""
        user = np.where((users >= 0)[:, None], self.rating_users[np.maximum(users, 0)], 0)
        item = np.where((items >= 0)[:, None], self.rating_items[np.maximum(items, 0)], np.eye(self.rating_items.shape[1])[-1])
        return self.mean + np.where(items >= 0, self.rating_bias[np.maximum(items, 0)], 0) + np.einsum("nf,nf->n", user, item)

    def _history_ratings(self, histories: Histories) -> sparse.csr_matrix:
        """csr (B, I) of ratings, repeats averaged. A row of ones only is a list without ratings (hand-picked
        items): each counts as the best rating."""
        row = histories.row
        rated = np.bincount(row[histories.values != 1], minlength=len(histories)) > 0
        values = np.where(rated[row], histories.values, self.fitted.value.max())
        shape = (len(histories), self.fitted.n_items)
        total = sparse.coo_matrix((values, (row, histories.items)), shape=shape).tocsr()
        times = sparse.coo_matrix((np.ones(len(row)), (row, histories.items)), shape=shape).tocsr()
        total.sort_indices()
        times.sort_indices()
        total.data = total.data / times.data
        return total

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """The ridge regression of the fit for new rows, items fixed."""
        ratings = self._history_ratings(histories)
        if self.resolved.ranking == "likely":
            return self._solve_ranking(ratings, self.item_factors)
        return self._solve(ratings, self.rating_items, self.rating_bias)

    def _portable(self) -> Portable:
        p, values = self.resolved, self.fitted.value
        low, high = float(values.min()), float(values.max())
        settings: dict[str, Any] = {"rank": p.ranking, "best": high}
        if p.ranking == "likely":
            scale = {"low": low, "top": high, "step": (high - low) / 4 or 1.0}
            settings |= scale | {"observed": OBSERVED_WEIGHT, "ridge": 2.2 * noise_level(self.fitted.stats)}
        else:
            settings |= {"regularization": p.regularization, "bias_regularization": p.bias_regularization, "constant": True}
        return self._factors_portable("biased_mf", settings)

    def _turn_to(self, keep: int) -> np.ndarray:
        turn = principal if self.resolved.ranking == "likely" else beside_a_constant
        return turn(self.user_factors, self.item_factors, keep)

    def _turned(self, turn: np.ndarray) -> None:
        if self.resolved.ranking == "rating":
            self.rating_users, self.rating_items = self.rating_users @ turn, self.rating_items @ turn

    def _similar(self, items: np.ndarray) -> np.ndarray:
        return cosines(self.item_factors if self.resolved.ranking == "likely" else self.rating_items[:, :-1], items)

    def _state(self) -> dict[str, Any]:
        ratings = {"rating_users": self.rating_users, "rating_items": self.rating_items, "rating_bias": self.rating_bias}
        return super()._state() | ratings | {"mean": self.mean}

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self.rating_users, self.rating_items = state["rating_users"], state["rating_items"]
        self.rating_bias, self.mean = state["rating_bias"], state["mean"]
