"""Shared maths of the neighbourhood and linear models: positives, term weights, top-k sparse products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset
from ...data.histories import Histories
from ...data.topk import top_k
from ._params import ValueUse

BLOCK_ENTRIES = 4_000_000  # entries of a sparse product held at once, about 100 MB with its sort keys


def product_bytes(side: int) -> int:
    """Bytes of the blocks of a side × side product, with their sort keys."""
    return 40 * min(BLOCK_ENTRIES, side * side)


def positives(data: Dataset, values: ValueUse) -> sparse.csr_matrix:
    """csr float32 (U, I) of relevant pairs: 1, log(1 + value) or the value itself."""
    return _valued(data.matrix("binary" if values == "ignore" else "count"), values)


def folded(histories: Histories, data: Dataset, values: ValueUse) -> sparse.csr_matrix:
    """csr float32 (B, I): the same of histories, which need not be of training users."""
    return _valued(histories.relevant(data.threshold).matrix(data.n_items, binary=values == "ignore"), values)


def _valued(matrix: sparse.csr_matrix, values: ValueUse) -> sparse.csr_matrix:
    if values == "ignore":
        return matrix
    weights = np.maximum(matrix.data, 0)
    return sparse.csr_matrix((np.log1p(weights) if values == "log" else weights, matrix.indices, matrix.indptr), shape=matrix.shape)


def inverse_frequency(matrix: sparse.csr_matrix) -> np.ndarray:
    """float32 (columns,): log(1 + rows / rows that have the column); small for columns that many rows have."""
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
    return np.log1p(matrix.shape[0] / np.maximum(counts, 1)).astype(np.float32)


def weigh(matrix: sparse.csr_matrix, scheme: str, idf: np.ndarray, mean_length: float, k1: float, b: float) -> sparse.csr_matrix:
    """Rows as documents, columns as terms. scheme: none, idf (a vote counts idf), tfidf or bm25."""
    if scheme == "none":
        return matrix
    term = idf[matrix.indices]
    if scheme == "idf":  # both sides of a product carry the root, so one shared column counts idf once
        data = matrix.data * np.sqrt(term)
    elif scheme == "tfidf":
        data = np.sqrt(matrix.data) * term
    else:
        row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        length = np.asarray(matrix.sum(axis=1)).ravel() / max(mean_length, 1e-9)
        data = matrix.data * (k1 + 1) / (k1 * (1 - b + b * length[row]) + matrix.data) * term
    return sparse.csr_matrix((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def row_norms(matrix: sparse.csr_matrix) -> np.ndarray:
    """float32 (rows,): Euclidean lengths."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.sqrt(np.bincount(row, weights=matrix.data.astype(np.float64) ** 2, minlength=matrix.shape[0])).astype(np.float32)


def row_blocks(left: sparse.csr_matrix, right: sparse.csr_matrix) -> Iterator[slice]:
    """Row ranges of left @ right whose product has about BLOCK_ENTRIES entries at most."""
    sizes = np.diff(right.indptr)[left.indices]
    work = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])[left.indptr]
    entries = np.minimum(np.diff(work), right.shape[1]) + 1
    block = np.cumsum(entries) // BLOCK_ENTRIES
    edges = np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [left.shape[0]]])
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        yield slice(int(start), int(stop))


Adjust = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # (rows, columns, values) -> values


def nearest(left: sparse.csr_matrix, right: sparse.csr_matrix, k: int, adjust: Adjust, ctx: RunContext | None = None) -> sparse.csr_matrix:
    """csr float32 (rows, columns): the k largest positive entries of every row of adjust(left @ right).

    Blocks of rows, so the whole product never stands in memory; `ctx` is asked to cancel between them.
    """
    parts = []
    for rows in row_blocks(left, right):
        if ctx is not None:
            ctx.report("Finding neighbours", rows.start / max(1, left.shape[0]))
        block = sparse.csr_matrix(left[rows] @ right)
        number = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        block.data = adjust(number + rows.start, block.indices, block.data).astype(np.float32)
        parts.append(keep_largest(block, k))
    return sparse.csr_matrix(sparse.vstack(parts, format="csr")) if parts else sparse.csr_matrix((0, right.shape[1]), dtype=np.float32)


def item_neighbours(
    items: sparse.csr_matrix, k: int, lean: float, shrinkage: float, ctx: RunContext, scored: np.ndarray | None = None
) -> sparse.csr_matrix:
    """csr float32 (I, I): row = item of the history, column = item scored, which keeps its k nearest.

    items: csr (I, U), weighted. Similarity = dot / (|scored|^(2 lean) * |history|^(2 - 2 lean) + shrinkage):
    lean 0.5 is the cosine, below it popular items gain. Weights are scaled to a mean square of 1 first,
    so that a shrinkage means the same (shared users) under every weighting. scored: only these n items, and as rows: csr (n, I).
    """
    items = unit_scaled(items)
    norms = row_norms(items)
    of_scored, of_source = norms ** (2 * lean), norms ** (2 - 2 * lean)

    def similarity(scored: np.ndarray, source: np.ndarray, dot: np.ndarray) -> np.ndarray:
        return np.where(scored == source, 0, dot / (of_scored[scored] * of_source[source] + shrinkage))

    if scored is None:
        return nearest(items, items.T.tocsr(), k, similarity, ctx).T.tocsr()
    return nearest(items[scored], items.T.tocsr(), k, lambda row, source, dot: similarity(scored[row], source, dot), ctx)


def unit_scaled(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Scaled so that the mean square of its entries is 1."""
    return matrix * np.float32(1 / max(1e-9, float(np.sqrt(np.mean(matrix.data**2))))) if matrix.nnz else matrix


def auto_neighbours(n: int) -> int:
    """A tenth of what there is, from 20 to 100: more than a hundred brought nothing on the sets tried."""
    return int(np.clip(n // 10, 20, 100))


def pairs_within(n_interactions: int, n_rows: int) -> float:
    """Pairs of entries in one row, the work of a sparse product: a few rows hold many, so four times the even share."""
    return 4.0 * n_interactions**2 / max(1, n_rows)


def keep_largest(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The k largest positive entries of every row; ties by lower column."""
    n_rows, n_columns = matrix.shape
    if matrix.nnz > n_rows * n_columns / 8:  # dense enough that a partition beats a sort
        dense = matrix.toarray()
        dense[dense <= 0] = -np.inf
        items, values = top_k(dense, min(k, n_columns))
        found = items >= 0
        columns, data, sizes = items[found], values[found], found.sum(axis=1)
    else:
        row = np.repeat(np.arange(n_rows), np.diff(matrix.indptr))
        keep = matrix.data > 0
        row, columns, data = row[keep], matrix.indices[keep], matrix.data[keep]
        order = np.lexsort((columns, -data, row))
        sizes = np.bincount(row, minlength=n_rows)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        order = order[rank < k]
        columns, data, sizes = columns[order], data[order], np.minimum(sizes, k)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    out = sparse.csr_matrix((data.astype(np.float32), columns, indptr), shape=matrix.shape)
    out.sort_indices()
    return out


def gram(matrix: sparse.csr_matrix, ctx: RunContext) -> np.ndarray:
    """float64 (I, I): matrixᵀ @ matrix, in blocks of items on `ctx.n_threads` threads."""
    transposed, n = matrix.T.tocsr(), matrix.shape[1]
    out = np.empty((n, n))
    width = int(np.clip(BLOCK_ENTRIES // max(1, n), 1, 512))

    def fill(start: int) -> int:
        rows = slice(start, min(start + width, n))
        out[rows] = (transposed[rows] @ matrix).toarray()
        return rows.stop

    with ThreadPoolExecutor(max_workers=ctx.n_threads) as pool:
        pending = [pool.submit(fill, start) for start in range(0, n, width)]
        try:
            for future in pending:
                ctx.report("Counting co-occurrences", future.result() / n)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return out


def fill_by_popularity(scores: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """Items without any evidence (score 0) come after all others, the most popular of them first.

    Their scores are negative and a thousandth of the row's best in size, so that a sum of several
    models hardly notices them.
    """
    unit = scores.max(axis=1, keepdims=True, initial=0) * np.float32(1e-3)
    unit[unit <= 0] = 1
    return np.where(scores > 0, scores, (popularity - 1 - 1e-6)[None, :] * unit).astype(np.float32)
