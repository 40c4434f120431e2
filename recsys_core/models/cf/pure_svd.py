"""Truncated SVD of the interaction matrix."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import Params, param
from .._base import Cost, Explanation, Source
from .._portable import Portable
from . import _params as shared
from ._factors import FactorModel, factor_bytes, mean_weight, raw_weights, single_threaded_blas
from ._fold_in import positives
from ._params import Weighting

DENSE_CELLS = 1_000_000  # up to here a full SVD is as fast, and it has no limit on the number of factors


class PureSVD(FactorModel):
    """Items are projected on the strongest directions of the matrix with zeros for what is missing: scores = r V Vᵀ.

    Source: Cremonesi, Koren, Turrin 2010, Performance of Recommender Algorithms on Top-N Recommendation
    Tasks, section 3.2.2; popularity damping as in EigenRec (Nikolakopoulos et al. 2019, section 3.1).
    Differs: the vector of a user is r V, for training users and new ones alike, so fold-in is exact.
    Cost: some 4 × F products of the matrix with a vector, 4 × nnz operations each, and (U + I) × F² for
    orthogonalisation; memory 16 × (U + I) × F bytes. 64 thousand interactions × 32 factors: 0.2 s.
    """

    key = "pure_svd"
    label = "PureSVD"
    summary = "A strong, quick classic with one setting that matters. A good first factor model on any data."
    source = Source(
        "Cremonesi, Koren, Turrin: Performance of Recommender Algorithms on Top-N Recommendation Tasks, RecSys 2010",
        "https://doi.org/10.1145/1864708.1864721",
    )

    class Params(Params):
        factors: int | Literal["auto"] = shared.factors(
            tune=(8, 256, "log"),
            help="How many directions of taste are kept. Few keep what is common, many also what is special (and chance).",
        )
        popularity_damping: float = param(
            0.0,
            label="Popularity damping",
            help="Above 0, popular items have less say in which directions are found. Helps large catalogues with little data.",
            ge=0,
            le=1,
            tune=(0, 0.4, "linear"),
        )
        weighting: Weighting = shared.weighting()

    params: Params
    resolved: Params

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        factors = int(np.clip(round(np.sqrt(stats.n_interactions) / 14), 8, 128))
        return {"factors": factors, "weighting": "binary" if stats.has_ratings else "log"}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        operations = 16 * p.factors * stats.n_interactions + 8 * (stats.n_users + stats.n_items) * p.factors**2
        memory = 5 * factor_bytes(stats, p.factors) + 24 * stats.n_interactions + 2**26
        return Cost(memory, 0.2 + operations / 1e9, f"grows with interactions × {p.factors} factors")

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        counts = data.matrix("count")
        self.weight_scale = mean_weight(counts, self.resolved.weighting)
        damped = self._weighted(counts, np.maximum(data.item_counts, 1.0) ** -self.resolved.popularity_damping)
        # Scores are read on the undamped scale: V carries the damping on its way in, its inverse on the way out.
        directions = self._directions(damped, ctx)
        out = directions * np.maximum(data.item_counts, 1.0)[:, None] ** self.resolved.popularity_damping
        self._learned(np.zeros((data.n_users, directions.shape[1])), out)
        self._learned(self._solved_users(data, ctx), out)

    def _directions(self, matrix: sparse.csr_matrix, ctx: RunContext) -> np.ndarray:
        """(I, F) right singular vectors of the largest singular values; sign and order fixed."""
        factors, smallest = self.resolved.factors, min(matrix.shape)
        if matrix.shape[0] * matrix.shape[1] <= DENSE_CELLS:
            ctx.check()
            _, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
            factors = min(factors, int((values > 1e-9 * values[0]).sum()))
            directions = right[:factors].T
        else:
            factors = min(factors, smallest - 1)
            directions = self._lanczos(matrix, factors, ctx)
        if factors < self.resolved.factors:
            self.notes.append(f"Only {factors} factors: the training matrix has no more independent directions.")
        largest = np.abs(directions).argmax(axis=0)
        return directions * np.where(directions[largest, np.arange(factors)] < 0, -1, 1)

    def _lanczos(self, matrix: sparse.csr_matrix, factors: int, ctx: RunContext) -> np.ndarray:
        from scipy.sparse.linalg import LinearOperator, svds

        transposed = matrix.T.tocsr()
        expected = 4 * factors
        done = 0

        def product(vector: np.ndarray) -> np.ndarray:
            nonlocal done
            done += 1
            ctx.report("fit", min(0.95, done / (done + expected)))
            return matrix @ vector

        operator = LinearOperator(matrix.shape, matvec=product, rmatvec=lambda vector: transposed @ vector, dtype=np.float64)
        start = ctx.rng("pure_svd").standard_normal(min(matrix.shape))
        with single_threaded_blas():
            _, values, right = svds(operator, k=factors, v0=start, return_singular_vectors="vh")
        return right[np.argsort(-values, kind="stable")].T

    def _weighted(self, counts: sparse.csr_matrix, item_scale: np.ndarray) -> sparse.csr_matrix:
        weights = raw_weights(counts.data, self.resolved.weighting) / self.weight_scale
        return sparse.csr_matrix((weights * item_scale[counts.indices], counts.indices, counts.indptr), shape=counts.shape)

    def _rows(self, histories: Histories) -> sparse.csr_matrix:
        """csr float64 (B, I): weighted histories on the scale that `item_factors` have."""
        # damped row × damped directions = row × directions × popularity^-2·damping on the undamped scale
        popularity = np.maximum(self.fitted.item_counts, 1.0)
        return self._weighted(positives(histories, self.fitted), popularity ** (-2 * self.resolved.popularity_damping))

    def _fold_in(self, histories: Histories) -> np.ndarray:
        return self._rows(histories) @ self.item_factors

    def _portable(self) -> Portable:
        damping = self.resolved.popularity_damping
        scale = {"item_scale": np.maximum(self.fitted.item_counts, 1.0) ** (-2 * damping)} if damping else {}
        return self._factors_portable("pure_svd", {"weighting": self.resolved.weighting, "weight_scale": self.weight_scale}, **scale)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        """score = Σ_j r_j · v_j·v_i: one part for each item of the history."""
        row = self._rows(history)
        contributions = row.data * (self.item_factors[row.indices] @ self.item_factors[item])
        method = "The score is a sum of one part for each item of the history: its weight times how alike the two items are."
        return Explanation.of_history(row.indices, contributions, k, method)
