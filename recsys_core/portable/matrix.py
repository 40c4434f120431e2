"""The matrices of a bundle, however they are stored: float32, float16, int8 with one scale a row, or sparse rows.

A form says what it wants of a matrix (`weighted_sum`, `dot`, …) and does not know how it is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

WIDEN_CELLS = 2**16  # of a larger one at a time: 256 KiB
# Narrow matrices up to this size are widened to float32 once, when whole products are asked of them; processors read float16 slowly.
SPREAD_CELLS = {"int8": 2**22, "float16": 2**24}


class Matrix(ABC):
    """R rows, C columns; everything comes out as float32."""

    shape: tuple[int, int]

    @abstractmethod
    def take(self, rows: np.ndarray) -> np.ndarray:
        """(n, C): the rows asked for, dense."""

    @abstractmethod
    def cells(self, rows: np.ndarray, column: int) -> np.ndarray:
        """(n,): one cell of each row asked for."""

    @abstractmethod
    def column(self, at: int) -> np.ndarray:
        """(R,): one column."""

    @abstractmethod
    def dot(self, vector: np.ndarray) -> np.ndarray:
        """(R,): the product with a vector (C,)."""

    @property
    @abstractmethod
    def n_bytes(self) -> int:
        """What it takes as it is kept."""

    def weighted_sum(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(C,): the sum of the rows, each times its weight."""
        return np.asarray(weights, np.float32) @ self.take(rows)


class Dense(Matrix):
    """values: (R, C) float32, float16 or int8; scales: float32 (R,), what an int8 row is multiplied with."""

    def __init__(self, values: np.ndarray, scales: np.ndarray | None = None) -> None:
        self.values, self.scales = values, scales
        self.shape = values.shape

    def take(self, rows: np.ndarray) -> np.ndarray:
        found = self.values[rows].astype(np.float32, copy=False)
        return found if self.scales is None else found * self.scales[rows][:, None]

    def cells(self, rows: np.ndarray, column: int) -> np.ndarray:
        found = self.values[rows, column].astype(np.float32)
        return found if self.scales is None else found * self.scales[rows]

    def column(self, at: int) -> np.ndarray:
        found = self.values[:, at].astype(np.float32)
        return found if self.scales is None else found * self.scales

    def dot(self, vector: np.ndarray) -> np.ndarray:
        vector = np.asarray(vector, np.float32)
        if self.values.dtype == np.float32:
            return self.values @ vector
        if self.values.size <= SPREAD_CELLS.get(self.values.dtype.name, 0):
            return self.wide @ vector
        # Widened a block at a time, which stays in the processor's cache, and scaled after the product: int8 costs what float32 does.
        step = max(1, WIDEN_CELLS // max(1, self.shape[1]))
        wide, out = np.empty((step, self.shape[1]), np.float32), np.empty(self.shape[0], np.float32)
        for at in range(0, self.shape[0], step):
            part = self.values[at : at + step]
            np.copyto(wide[: len(part)], part)
            np.dot(wide[: len(part)], vector, out=out[at : at + step])
        return out if self.scales is None else out * self.scales

    @cached_property
    def wide(self) -> np.ndarray:
        """float32 (R, C), kept once it was asked for."""
        return self.values if self.values.dtype == np.float32 else self.take(slice(None))

    @property
    def n_bytes(self) -> int:
        return self.values.nbytes + (0 if self.scales is None else self.scales.nbytes)


class Sparse(Matrix):
    """Compressed rows: row r holds data[indptr[r]:indptr[r + 1]] at the columns `indices` (sorted within a row)."""

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, n_columns: int) -> None:
        self.indptr, self.indices, self.data = indptr, indices, data
        self.shape = (len(indptr) - 1, n_columns)

    def entries(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(which of `rows` (m,), columns (m,), values (m,)) of all that is stored in them."""
        rows = np.asarray(rows, dtype=np.int64)
        start = self.indptr[rows]
        lengths = self.indptr[rows + 1] - start
        of = np.repeat(np.arange(len(rows)), lengths)
        at = np.arange(len(of)) + np.repeat(start - (np.cumsum(lengths) - lengths), lengths)
        return of, self.indices[at], self.data[at].astype(np.float32, copy=False)

    def weighted_sum(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        of, columns, values = self.entries(rows)
        return np.bincount(columns, np.asarray(weights, np.float32)[of] * values, minlength=self.shape[1]).astype(np.float32)

    def take(self, rows: np.ndarray) -> np.ndarray:
        of, columns, values = self.entries(rows)
        out = np.zeros((len(rows), self.shape[1]), np.float32)
        out[of, columns] = values
        return out

    def cells(self, rows: np.ndarray, column: int) -> np.ndarray:
        of, columns, values = self.entries(rows)
        there = columns == column
        return np.bincount(of[there], values[there], minlength=len(rows)).astype(np.float32)

    def column(self, at: int) -> np.ndarray:
        found = np.flatnonzero(self.indices == at)
        out = np.zeros(self.shape[0], np.float32)
        out[np.searchsorted(self.indptr, found, side="right") - 1] = self.data[found]
        return out

    def dot(self, vector: np.ndarray) -> np.ndarray:
        products = self.data.astype(np.float32, copy=False) * np.asarray(vector, np.float32)[self.indices]
        return np.bincount(np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), products, minlength=self.shape[0]).astype(np.float32)

    @property
    def n_bytes(self) -> int:
        return self.indptr.nbytes + self.indices.nbytes + self.data.nbytes
