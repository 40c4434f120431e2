"""EASE in closed form, with or without more than interactions in the square it inverts."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import JobFailed
from .._base import Cost
from .._card import block_bytes
from .._portable import Portable
from . import _params as shared
from ._item_to_item import ItemToItem, fewer_weights
from ._neighbours import gram, positives
from ._params import ValueUse

BYTES_PER_CELL = 8 + 4  # the Gram matrix in double precision, inverted in place, and the weights in single
MEMORY_SHARE = 0.4  # of the machine, for "auto" in `max_items`


class ClosedFormParams(p.Params):
    regularization: float | Literal["auto"] = p.param(
        "auto",
        label="Regularization",
        help="Higher values trust only links between items that many users share. Auto chooses by the number of interactions per item.",
        gt=0,
        le=1_000_000,
        tune=(5, 5_000, "log"),
    )
    dropout: float = p.param(
        0.0,
        label="Denoising",
        help="Share of every history hidden while learning, so that popular items lean less on themselves. 0 is plain EASE.",
        ge=0,
        le=0.9,
        tune=(0, 0.6, "linear"),
    )
    values: ValueUse = shared.value_use()
    max_items: int | Literal["auto"] = p.param(
        "auto",
        label="Most items modelled",
        help="Only this many of the most popular items take part; the others score 0. Auto takes all that fit in memory.",
        ge=2,
        le=200_000,
        advanced=True,
    )


class ClosedForm(ItemToItem):
    """Item-item weights B minimising |X - XB|² + |λ^½ B|² with a zero diagonal, for the most popular items that fit.

    Shapes: weights (M, M) float32; column i scores item i. A model may `_add_to` the Gram matrix XᵀX.
    """

    reason = "The learnt weight from each item of the history to this one; they add up to the score."
    Params = ClosedFormParams
    _weights: np.ndarray  # dense

    @classmethod
    def auto_params(cls, params: ClosedFormParams, stats: DatasetStats) -> dict[str, Any]:
        return {"regularization": auto_regularization(stats), "max_items": min(max(2, stats.n_items), _items_that_fit())}

    def cost(self, stats: DatasetStats) -> Cost:
        modelled = min(stats.n_items, self.resolve(stats).max_items)
        note = f"the square of {modelled:,} items"
        return Cost(
            BYTES_PER_CELL * modelled**2 + 24 * stats.n_interactions + block_bytes(stats),
            0.1 + modelled**3 / 3e10 + 1e-8 * stats.n_interactions**2 / max(1, stats.n_users),
            note,
        )

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params = self.resolved
        self._modelled = None
        matrix = positives(data, params.values)
        if params.max_items < data.n_items:
            self._modelled = np.sort(np.argsort(-data.item_counts, kind="stable")[: params.max_items]).astype(np.int64)
            matrix = matrix[:, self._modelled]
            share = matrix.nnz / max(1, int(data.item_counts.sum()))
            self.notes.append(
                f"Only the {params.max_items:,} most popular of {data.n_items:,} items were modelled "
                f"({share:.0%} of the interactions); the others are not personalised."
            )
        square = gram(matrix, ctx.part("Reading", 0.0, 0.4))
        diagonal = np.arange(len(square))
        square[diagonal, diagonal] += params.regularization + params.dropout / (1 - params.dropout) * square[diagonal, diagonal]
        self._add_to(square, data, ctx)
        ctx.report("Inverting", 0.4)
        invert(square)
        ctx.report("Storing weights", 0.9)
        scale = -1 / square[diagonal, diagonal]
        self._weights = np.empty(square.shape, np.float32)
        np.multiply(square, scale[None, :], out=self._weights, casting="unsafe")
        self._weights[diagonal, diagonal] = 0

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        from ._ease_update import pays, updated_weights

        if self._modelled is None:  # new items are modelled too
            self.resolved = self.resolved.with_(max_items=max(self.resolved.max_items, self.fitted.n_items))
        if self._modelled is None and not pays(before, self.fitted):
            self._fit(self.fitted, ctx, None)
            return
        self._weights = updated_weights(self, before, ctx)

    def _add_to(self, square: np.ndarray, data: Dataset, ctx: RunContext) -> None:
        """Add what else is known of the modelled items (`self._modelled`, None: all) to their Gram matrix, in place."""

    def _history_scores(self, histories: Histories) -> np.ndarray:
        history = self._history_matrix(histories)
        if self._modelled is None:
            return np.asarray(history @ self._weights)
        scores = np.zeros((len(histories), self.fitted.n_items), np.float32)
        scores[:, self._modelled] = history[:, self._modelled] @ self._weights
        return scores

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Weight of `item` for every other; B is not symmetric: row i is what item i speaks for."""
        if self._modelled is None:
            return self._weights[items]
        place = self._places()[items]
        out = np.full((len(items), self.fitted.n_items), -np.inf, np.float32)
        out[np.ix_(place >= 0, self._modelled)] = self._weights[place[place >= 0]]
        return out

    def _column(self, item: int) -> np.ndarray:
        column = np.zeros(self.fitted.n_items, np.float32)
        if self._modelled is None:
            column[:] = self._weights[:, item]
        elif (place := self._places()[item]) >= 0:
            column[self._modelled] = self._weights[:, place]
        return column

    def _places(self) -> np.ndarray:
        places = np.full(self.fitted.n_items, -1, np.int64)
        places[self._modelled] = np.arange(len(self._modelled))
        return places

    def _portable(self) -> Portable:
        modelled = {} if self._modelled is None else {"modelled": self._modelled}
        settings = {"threshold": self.fitted.threshold, "values": self.resolved.values}
        return fewer_weights(Portable("item_weights", {"weights": self._weights} | modelled, settings))

    def _state(self) -> dict[str, Any]:
        return super()._state() | ({} if self._modelled is None else {"modelled": self._modelled})

    def _restore(self, state: dict[str, Any]) -> None:
        super()._restore(state)
        self._modelled = state.get("modelled")


def auto_regularization(stats: DatasetStats) -> float:
    """45 * the root of the geometric mean of interactions per user and per item, to two digits.

    Fitted by eye to the values that are best on MovieLens 100K (400), MovieLens small (200), Last.fm
    sequences (75) and published for MovieLens 20M (500) and Netflix (1,000); quality is flat around it.
    """
    mean = stats.n_interactions / max(1.0, (stats.n_users * stats.n_items) ** 0.5)
    return float(f"{max(1.0, 45 * mean**0.5):.2g}")


def _items_that_fit() -> int:
    """Items whose square takes MEMORY_SHARE of the machine, in steps of 1,000 so that reruns agree."""
    import psutil

    return max(1_000, int((MEMORY_SHARE * psutil.virtual_memory().total / BYTES_PER_CELL) ** 0.5) // 1_000 * 1_000)


def invert(square: np.ndarray) -> None:
    """Inverse of a symmetric positive definite C-ordered matrix, in place (Cholesky)."""
    from scipy.linalg import lapack

    # The transposed view is Fortran-ordered, so LAPACK works in place: its upper triangle is our lower one.
    factor, status = lapack.dpotrf(square.T, lower=0, clean=0, overwrite_a=1)
    if status == 0:
        factor, status = lapack.dpotri(factor, lower=0, overwrite_c=1)
    if status != 0 or not np.shares_memory(factor, square):
        raise JobFailed("EASE could not invert its matrix: it is not positive definite.", "Raise the regularization.")
    step = 512
    for start in range(0, len(square), step):
        stop = start + step
        square[start:stop, stop:] = square[stop:, start:stop].T
        corner = square[start:stop, start:stop]
        square[start:stop, start:stop] = np.tril(corner) + np.tril(corner, -1).T
