"""The vector of a user the model has never seen, from their history, for many users at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset
from ...data.histories import Histories

WORK_BYTES = 32 * 2**20  # item vectors or scores held at once

# (x (b, F), which rows) -> (objective (b,), its gradient (b, F)); larger is better, concave in x
Objective = Callable[[np.ndarray, slice], tuple[np.ndarray, np.ndarray]]


def positives(histories: Histories, data: Dataset) -> sparse.csr_matrix:
    """csr float32 (B, I): the items of each history that count as positives, with their summed values."""
    return histories.relevant(data.threshold).matrix(data.n_items, binary=False)


def row_blocks(matrix: sparse.csr_matrix, n_factors: int) -> Iterator[slice]:
    """Consecutive rows whose entries, with a vector gathered for each, stay within 32 MiB (or one row)."""
    entries = max(1, WORK_BYTES // (8 * n_factors))
    start, n_rows = 0, matrix.shape[0]
    while start < n_rows:
        stop = int(np.searchsorted(matrix.indptr, matrix.indptr[start] + entries, side="right")) - 1
        stop = min(max(stop, start + 1), n_rows)
        yield slice(start, stop)
        start = stop


def padded_groups(matrix: sparse.csr_matrix, n_factors: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of like length together: (rows (b,), columns (b, L), values (b, L)), padded with column 0 and value NaN.

    Rows are grouped by the power of two above their length, so at most half of a block is padding.
    """
    lengths = np.diff(matrix.indptr)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    if not len(order):
        return
    size = np.ceil(np.log2(lengths[order])).astype(int)
    for group in np.split(order, np.flatnonzero(np.diff(size)) + 1):
        width = int(lengths[group[-1]])
        step = max(1, WORK_BYTES // (4 * width * max(n_factors, 1)))
        for start in range(0, len(group), step):
            rows = group[start : start + step]
            at = np.arange(width)[None, :]
            real = at < lengths[rows][:, None]
            place = np.where(real, matrix.indptr[rows][:, None] + at, 0)
            yield rows, np.where(real, matrix.indices[place], 0), np.where(real, matrix.data[place], np.nan)


def weighted_ridge(
    item_factors: np.ndarray,
    gram: np.ndarray,
    matrix: sparse.csr_matrix,
    outer_weights: Callable[[np.ndarray], np.ndarray],
    targets: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ctx: RunContext | None = None,
    ridge: np.ndarray | None = None,
    pull: np.ndarray | None = None,
) -> np.ndarray:
    """float32 (B, F): per row the solution x of (gram + Σ w_j y_j y_jᵀ) x = Σ t_j y_j (+ pull) over its columns j; 0 without columns.

    w = outer_weights(values), t = targets(values, columns), both (b, L). gram (F, F) holds what all rows
    share; ridge (F,) is added to the diagonal once for every column of the row.
    Cost: nnz × F² + B × F³ / 3 multiplications; 32 MiB of gathered vectors at a time.
    """
    out = np.zeros((matrix.shape[0], item_factors.shape[1]), dtype=np.float32)
    narrow = np.ascontiguousarray(item_factors, dtype=np.float32)  # products in float32 take half the time; solved in float64
    for rows, columns, values in padded_groups(matrix, narrow.shape[1]):
        if ctx is not None:
            ctx.check()
        real = ~np.isnan(values)
        values = np.where(real, values, 0)
        vectors = narrow[columns]  # (b, L, F)
        weights = np.where(real, outer_weights(values), 0).astype(np.float32)
        wanted = np.where(real, targets(values, columns), 0).astype(np.float32)
        left = gram + (np.swapaxes(vectors * weights[..., None], 1, 2) @ vectors).astype(np.float64)  # (b, F, F)
        if ridge is not None:
            left[:, np.arange(len(ridge)), np.arange(len(ridge))] += real.sum(axis=1)[:, None] * ridge
        right = (wanted[:, None, :] @ vectors).astype(np.float64)  # (b, 1, F)
        if pull is not None:
            right += pull[rows][:, None, :]
        out[rows] = np.linalg.solve(left, np.swapaxes(right, 1, 2))[..., 0]
    return out


def maximise(objective: Objective, shape: tuple[int, int], curvature: np.ndarray, steps: int, *, width: int) -> np.ndarray:
    """float64 (B, F): the row-wise maximum of a concave objective, all rows at once.

    Newton-like ascent from 0: the gradient times the inverse of one `curvature` (F, F) shared by all rows,
    and a step length of each row's own that grows while the objective does, else shrinks. A step that would
    lower the objective is not taken, so every row ends at the best point it saw.
    width: scores a row needs at once, to keep a block within 32 MiB. Cost: steps × (B × width × F × 4).
    """
    out = np.zeros(shape)
    direction = np.linalg.inv(curvature)
    size = max(1, WORK_BYTES // (8 * max(width, shape[1])))
    for start in range(0, shape[0], size):
        rows = slice(start, min(start + size, shape[0]))
        x = out[rows]
        value, gradient = objective(x, rows)
        step = np.ones(len(x))
        for _ in range(steps):
            tried = x + step[:, None] * (gradient @ direction)
            new_value, new_gradient = objective(tried, rows)
            better = new_value >= value
            x = np.where(better[:, None], tried, x)
            gradient = np.where(better[:, None], new_gradient, gradient)
            value = np.where(better, new_value, value)
            step = np.where(better, step * 1.5, step * 0.3)
        out[rows] = x
    return out


def popularity_sample(share: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(items, weights): the whole catalogue with its popularity shares, or for a large one `size` quantiles
    of the popularity distribution, each with weight 1 / size. Nothing random: the same every time."""
    if len(share) <= size:
        return np.arange(len(share)), share
    at = np.searchsorted(np.cumsum(share), (np.arange(size) + 0.5) / size * share.sum())
    return np.minimum(at, len(share) - 1), np.full(size, 1 / size)
