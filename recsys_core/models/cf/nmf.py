"""Non-negative matrix factorisation."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from ...params import Params, param
from .._base import Cost, Source
from .._portable import Portable
from . import _params as shared
from ._factors import FactorModel, auto_factors, factor_bytes, mean_weight, noise_level, raw_weights, single_threaded_blas
from ._fewer_factors import strongest
from ._fold_in import positives, row_blocks
from ._params import Weighting

FOLD_IN_ITERATIONS = 40


class NMF(FactorModel):
    """Users and items are sums of parts that only ever add: all factors are zero or positive.

    Source: Lee, Seung 1999, Learning the parts of objects by non-negative matrix factorization; coordinate
    descent (squared loss) and multiplicative updates (Kullback-Leibler) of scikit-learn.
    Differs: `regularization` is one absolute L2 penalty on users and items (scikit-learn scales its two by the
    sizes). After fitting, all user vectors are solved again from their histories with the items fixed, so
    a training user and a new user with the same history get the same list.
    Cost: an iteration takes about 4 × nnz × F + 4 × (U + I) × F² operations.
    """

    key = "nmf"
    label = "NMF"
    summary = "Factors that can be read as groups of items, because nothing is ever subtracted. For a look at what tastes there are."
    source = Source(
        "Lee, Seung: Learning the parts of objects by non-negative matrix factorization, Nature 1999", "https://doi.org/10.1038/44565"
    )

    class Params(Params):
        factors: int | Literal["auto"] = shared.factors(
            le=512,
            tune=(8, 128, "log"),
            fast=16,
            help="How many groups of items are looked for. More can tell finer differences, but need more data.",
        )
        regularization: float | Literal["auto"] = shared.regularization(
            "auto",
            le=100_000,
            tune=(0.5, 100, "log"),
            help="How strongly the model is held back from fitting chance. Auto follows the data's size and density.",
        )
        loss: Literal["squared", "kullback_leibler"] = param(
            "squared",
            label="Loss",
            help="What counts as a bad fit. Squared is faster and usually better; Kullback-Leibler suits counts.",
        )
        iterations: int = shared.iterations(60, le=2000, tune=(20, 200, "log"), fast=30, thorough=150)
        weighting: Weighting = shared.weighting()

    params: Params
    resolved: Params

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {
            "factors": auto_factors(stats, largest=64),
            # Multiplicative updates measure likelihood, not squares: the noise level is no scale for them.
            "regularization": 0.0 if params.loss == "kullback_leibler" else float(f"{0.9 * noise_level(stats):.3g}"),
            "weighting": "binary" if stats.has_ratings else "log",
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        per_iteration = 4 * stats.n_interactions * p.factors + 4 * (stats.n_users + stats.n_items) * p.factors**2
        slower = 1 if p.loss == "squared" else 6
        memory = 4 * factor_bytes(stats, p.factors) + 24 * stats.n_interactions + 2**26
        memory += 0 if p.loss == "squared" else 8 * stats.n_interactions
        return Cost(
            memory, 0.5 + p.iterations * slower * per_iteration / 5e8, f"grows with {p.factors} factors × {p.iterations} iterations"
        )

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        from sklearn.decomposition import non_negative_factorization

        p = self.resolved
        counts = data.matrix("count")
        self.weight_scale = mean_weight(counts, p.weighting)
        matrix = self._weighted(counts)
        rng = ctx.rng("nmf")
        scale = np.sqrt(matrix.mean() / p.factors)
        users = np.abs(rng.standard_normal((data.n_users, p.factors))) * scale
        items = np.abs(rng.standard_normal((p.factors, data.n_items))) * scale
        with single_threaded_blas():
            for done in range(p.iterations):  # one at a time, to be able to stop
                ctx.report("fit", done / p.iterations, epoch=done, epochs=p.iterations)
                settings = self._settings(data.n_users, data.n_items, 1)
                users, items, _ = _quietly(non_negative_factorization, matrix, W=users, H=items, init="custom", **settings)
                if min(users.max(), items.max()) < 1e-20:  # below float32, in which they are kept
                    raise Unsupported(
                        f"With a regularization of {p.regularization:g} nothing is left of the factors "
                        f"of {self.label} on {matrix.nnz:,} relevant interactions.",
                        "Lower the regularization or use more data.",
                    )
        self._learned(users, items.T)
        self._learned(self._solved_users(data, ctx), items.T)

    def _settings(self, n_rows: int, n_columns: int, iterations: int) -> dict[str, Any]:
        p = self.resolved
        squared = p.loss == "squared"
        return {
            "n_components": p.factors,
            "solver": "cd" if squared else "mu",
            "beta_loss": "frobenius" if squared else "kullback-leibler",
            "alpha_W": p.regularization / n_columns,
            "alpha_H": p.regularization / n_rows,
            "max_iter": iterations,
            "tol": 0.0,
        }

    def _weighted(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        weights = raw_weights(counts.data, self.resolved.weighting) / self.weight_scale
        return sparse.csr_matrix((weights, counts.indices, counts.indptr), shape=counts.shape)

    def _fold_in(self, histories: Histories) -> np.ndarray:
        """min_x≥0 ½ |r - x Hᵀ|² + ½ λ |x|² (or the divergence) for every row, items fixed: scikit-learn's transform."""
        from sklearn.decomposition import non_negative_factorization

        rows = self._weighted(positives(histories, self.fitted))
        if self.resolved.loss == "kullback_leibler":
            return self._divergence_fold_in(rows)
        settings = self._settings(rows.shape[0], rows.shape[1], FOLD_IN_ITERATIONS) | {"n_components": self.item_factors.shape[1]}
        users, _, _ = _quietly(non_negative_factorization, rows, H=self.item_factors.T.astype(np.float64), update_H=False, **settings)
        return users

    def _divergence_fold_in(self, rows: sparse.csr_matrix) -> np.ndarray:
        """Lee and Seung's multiplicative update of x alone. scikit-learn starts from the mean of the whole batch,
        which would make a user's list depend on who else is asked for."""
        items = np.maximum(self.item_factors.astype(np.float64), 1e-12)
        total = items.sum(axis=0)
        users = np.ones((rows.shape[0], items.shape[1]))
        for block in row_blocks(rows, items.shape[1]):
            part = rows[block]
            row = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
            vectors = items[part.indices]
            for _ in range(FOLD_IN_ITERATIONS):
                expected = np.einsum("nf,nf->n", users[block][row], vectors)
                ratio = sparse.csr_matrix((part.data / np.maximum(expected, 1e-12), part.indices, part.indptr), shape=part.shape)
                users[block] *= (ratio @ items) / (total + self.resolved.regularization * users[block])
        return users

    def _portable(self) -> Portable:
        p = self.resolved
        settings = {"weighting": p.weighting, "weight_scale": self.weight_scale, "loss": p.loss, "regularization": p.regularization}
        return self._factors_portable("nmf", settings | {"passes": FOLD_IN_ITERATIONS})

    def _turn_to(self, keep: int) -> np.ndarray:
        return strongest(self.user_factors, self.item_factors, keep)


def _quietly(function: Any, *args: Any, **named: Any) -> Any:
    """Run without scikit-learn's warning that it stopped at the number of iterations we asked for."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return function(*args, **named)
