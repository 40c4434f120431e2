"""Ordered item histories of some users: the input of fold-in, and what sequence models read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Histories:
    """Ragged rows, oldest first within a row.

    indptr: int64 (B + 1,); items: int32 codes (n,); values: float32 (n,), 1 where the data has none;
    times: int64 UTC seconds (n,) or None. Row b is items[indptr[b]:indptr[b + 1]].
    """

    indptr: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]], values: Sequence[Sequence[float]] | None = None) -> Histories:
        """From item-code lists, oldest first. Unknown items (-1) are left out."""
        lengths = [len(row) for row in lists]
        items = np.concatenate([np.asarray(row, dtype=np.int32) for row in lists]) if sum(lengths) else np.empty(0, np.int32)
        weights = (
            np.concatenate([np.asarray(row, dtype=np.float32) for row in values])
            if values is not None and sum(lengths)
            else np.ones(len(items), np.float32)
        )
        row = np.repeat(np.arange(len(lengths)), lengths)
        known = items >= 0
        return cls.from_rows(len(lengths), row[known], items[known], weights[known])

    @classmethod
    def from_rows(cls, n_rows: int, row: np.ndarray, items: np.ndarray, values: np.ndarray, times: np.ndarray | None = None) -> Histories:
        """From triples in any row order; within a row by time, then as given (stable)."""
        order = np.lexsort((times, row)) if times is not None else np.argsort(row, kind="stable")
        indptr = np.zeros(n_rows + 1, dtype=np.int64)
        np.cumsum(np.bincount(row, minlength=n_rows), out=indptr[1:])
        return cls(
            indptr,
            np.ascontiguousarray(items[order], dtype=np.int32),
            np.ascontiguousarray(values[order], dtype=np.float32),
            None if times is None else np.ascontiguousarray(times[order], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.indptr)

    @property
    def row(self) -> np.ndarray:
        """(n,) row number of every entry."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: np.ndarray) -> Histories:
        """The rows asked for, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return Histories(indptr, self.items[at], self.values[at], None if self.times is None else self.times[at])

    def last(self, n: int) -> Histories:
        """Only the n most recent entries of every row."""
        from_end = np.repeat(self.indptr[1:], self.lengths) - np.arange(len(self.items))
        keep = from_end <= n
        indptr = np.concatenate([[0], np.cumsum(np.minimum(self.lengths, n))]).astype(np.int64)
        return Histories(indptr, self.items[keep], self.values[keep], None if self.times is None else self.times[keep])

    def relevant(self, threshold: float | None) -> Histories:
        """Only entries with a value of at least the threshold; itself when there is none.

        A row with no such entry is kept whole: what somebody chose is then all that is known of them, and
        items picked by hand come without a rating.
        """
        if threshold is None or not len(self.items):
            return self
        row, good = self.row, self.values >= threshold
        keep = good | (np.bincount(row[good], minlength=len(self)) == 0)[row]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row[keep], minlength=len(self)))]).astype(np.int64)
        return Histories(indptr, self.items[keep], self.values[keep], None if self.times is None else self.times[keep])

    def padded(self, max_len: int, pad: int) -> np.ndarray:
        """int64 (B, max_len): the last max_len items, right-aligned, `pad` before them."""
        recent = self.last(max_len)
        out = np.full((len(self), max_len), pad, dtype=np.int64)
        column = max_len - (np.repeat(recent.indptr[1:], recent.lengths) - np.arange(len(recent.items)))
        out[recent.row, column] = recent.items
        return out

    def matrix(self, n_items: int, binary: bool = True) -> sparse.csr_matrix:
        """csr float32 (B, n_items): 1 where present, or the summed values."""
        values = np.ones(len(self.items), np.float32) if binary else self.values
        out = sparse.csr_matrix((values, self.items, self.indptr), shape=(len(self), n_items), copy=True)
        out.sum_duplicates()
        if binary:
            out.data[:] = 1
        return out
