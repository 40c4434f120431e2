"""Products of the candidates' rows of an item table with one vector a user: all that diversification needs."""

from __future__ import annotations

import numpy as np
from scipy import sparse

DENSE_COLUMNS = 96  # a sparse table with more columns than this is never made dense


class CandidateRows:
    """table: (I, D) float32, dense or csr; items: int32 (B, C), -1 where there is nothing (its values then mean nothing).

    Dense tables, and sparse ones of few columns, are gathered once: (B, C, D). Wide ones stay sparse: memory and time then
    follow the entries of the candidates (a film's three genres of five thousand), and the products are as exact.
    """

    def __init__(self, table: np.ndarray | sparse.csr_matrix, items: np.ndarray, *, keep_sparse: bool = False) -> None:
        self.shape, self.width = items.shape, table.shape[1]
        at = np.maximum(items, 0)
        self.dense: np.ndarray | None = None
        if not sparse.issparse(table):
            self.dense = table[at]
        elif self.width <= DENSE_COLUMNS and not keep_sparse:
            self.dense = table[at.ravel()].toarray().reshape(*self.shape, self.width)
        else:
            self.rows = table[at.ravel()]
            self.starts = self.rows.indptr[:-1]
            self.filled = np.flatnonzero(np.diff(self.rows.indptr))
            user = np.repeat(np.arange(self.shape[0]), np.diff(self.rows.indptr[:: self.shape[1]]))
            self.places = user * self.width + self.rows.indices  # of every entry, in a (B, D) array

    def times(self, vectors: np.ndarray) -> np.ndarray:
        """float32 (B, C): the product of every candidate's row with its user's vector, (B, D)."""
        if self.dense is not None:
            return np.matmul(self.dense, vectors[:, :, None])[:, :, 0]
        return self.sums(vectors.reshape(-1)[self.places] * self.rows.data)

    def of(self, columns: np.ndarray) -> np.ndarray:
        """float32 (B, D): the rows of the candidates in these columns, one a user."""
        if self.dense is not None:
            return self.dense[np.arange(self.shape[0]), columns]
        return self.rows[np.arange(self.shape[0]) * self.shape[1] + columns].toarray()

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(B, C): sums over the entries of every candidate of a sparse table."""
        out = np.zeros(self.shape[0] * self.shape[1], dtype=np.float32)
        if len(self.filled):
            out[self.filled] = np.add.reduceat(values, self.starts[self.filled])
        return out.reshape(self.shape)
