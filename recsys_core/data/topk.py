"""Ranked lists: what every model gives and every metric reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from .ids import IdMap

TIED_SHARE = 0.5  # of the lists of new items: from here on a recommender is said to know nothing of them


@dataclass(frozen=True)
class TopK:
    """users: int32 (B,) codes (row numbers for anonymous histories); items: int32 (B, k), best first,
    -1 where there is nothing; scores: float32 (B, k), NaN there."""

    users: np.ndarray
    items: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if self.items.shape != self.scores.shape or len(self.users) != len(self.items):
            raise ValueError(f"users {self.users.shape}, items {self.items.shape} and scores {self.scores.shape} do not fit together")

    @property
    def tied(self) -> np.ndarray:
        """bool (B,): lists of which all places have the same score."""
        with np.errstate(invalid="ignore"):
            low = np.where(np.isnan(self.scores), np.inf, self.scores).min(axis=1)
            high = np.where(np.isnan(self.scores), -np.inf, self.scores).max(axis=1)
        return low == high

    @property
    def k(self) -> int:
        return self.items.shape[1]

    def __len__(self) -> int:
        return len(self.users)

    def cut(self, k: int) -> TopK:
        """The first k of every list."""
        return TopK(self.users, self.items[:, :k], self.scores[:, :k])

    def take(self, rows: np.ndarray) -> TopK:
        """The lists of the rows asked for, in that order."""
        return TopK(self.users[rows], self.items[rows], self.scores[rows])

    def without(self, seen: sparse.csr_matrix, k: int) -> TopK:
        """The first k of every list after taking out what row b of `seen`, csr (B, I), holds."""
        own = np.arange(len(self), dtype=np.int64)[:, None] * seen.shape[1]
        row = np.repeat(own[:, 0], np.diff(seen.indptr))
        gone = np.isin(own + self.items, row + seen.indices) | (self.items < 0)
        order = np.argsort(gone, axis=1, kind="stable")[:, :k]
        gone = np.take_along_axis(gone, order, axis=1)
        items, scores = np.take_along_axis(self.items, order, axis=1), np.take_along_axis(self.scores, order, axis=1)
        return TopK(self.users, np.where(gone, -1, items).astype(np.int32), np.where(gone, np.nan, scores).astype(np.float32))

    def frame(self, users: IdMap | np.ndarray, items: IdMap) -> pd.DataFrame:
        """user, item, rank (from 1), score with external ids: the only place they go out.

        users: the id map, or an array of external ids, one a row.
        """
        row, column = np.nonzero(self.items >= 0)
        names = users.decode(self.users) if isinstance(users, IdMap) else np.asarray(users, dtype=object)
        return pd.DataFrame(
            {
                "user": names[row],
                "item": items.decode(self.items[row, column]),
                "rank": (column + 1).astype(np.int32),
                "score": self.scores[row, column].astype(np.float64),
            }
        )

    def save(self, path: Path) -> None:
        """Write a compressed npz."""
        np.savez_compressed(path, users=self.users, items=self.items, scores=self.scores)

    @classmethod
    def load(cls, path: Path) -> TopK:
        """Read it back; nothing in the file can run code."""
        with np.load(path, allow_pickle=False) as saved:
            return cls(saved["users"], saved["items"], saved["scores"])


def top_k(scores: np.ndarray, k: int, *, may_be_nan: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(items, scores) of the k best columns of every row of float (B, I); ties by lower column.

    -inf (or NaN) means "may not be recommended" and comes out as -1 / NaN. may_be_nan=False saves the look
    for NaN where there is none. Cost: three passes over long rows, one partition of B × I for short ones.
    """
    n_rows, n_columns = scores.shape
    width = min(k, n_columns)
    items = np.full((n_rows, k), -1, dtype=np.int32)
    best = np.full((n_rows, k), np.nan, dtype=np.float32)
    if width == 0 or n_rows == 0:
        return items, best
    if may_be_nan and np.isnan(scores).any():
        scores = np.where(np.isnan(scores), -np.inf, scores)
    if scores.dtype.kind == "f" and n_columns // _n_groups(n_columns, k) >= 4:
        return _top_k_of_long_rows(scores, k)
    if width < n_columns:
        cut = np.argpartition(scores, n_columns - width, axis=1)[:, n_columns - width :]
        edge = np.take_along_axis(scores, cut, axis=1).min(axis=1)
        # The partition takes any of the columns that tie with the last one: take the lowest instead.
        tied = np.flatnonzero(((scores >= edge[:, None]).sum(axis=1) > width) & np.isfinite(edge))
        for rows in np.array_split(tied, max(1, len(tied) // 512)):
            if len(rows):
                cut[rows] = _lowest_columns(scores[rows], edge[rows, None], width)
        cut.sort(axis=1)
    else:
        cut = np.broadcast_to(np.arange(n_columns), (n_rows, n_columns))
    chosen = np.take_along_axis(scores, cut, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    chosen = np.take_along_axis(chosen, order, axis=1)
    found = np.isfinite(chosen)
    items[:, :width] = np.where(found, np.take_along_axis(cut, order, axis=1), -1)
    best[:, :width] = np.where(found, chosen, np.nan)
    return items, best


def _n_groups(n_columns: int, k: int) -> int:
    return max(8 * k, min(1024, n_columns // 8), 1)


def _top_k_of_long_rows(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k-th largest of the maxima of many column groups is never above the k-th largest score, and
    hardly below it: only columns that reach it, little more than k of them, are sorted."""
    n_rows, n_columns = scores.shape
    groups = _n_groups(n_columns, k)
    depth = n_columns // groups
    maxima = scores[:, : depth * groups].reshape(n_rows, depth, groups).max(axis=1)
    floor = np.partition(maxima, groups - k, axis=1)[:, groups - k]
    floor = np.maximum(floor, np.finfo(scores.dtype).min)  # -inf marks what may not be recommended
    found = np.flatnonzero(scores >= floor[:, None])
    row = found // n_columns
    value = scores.reshape(-1)[found]
    order = np.lexsort((-value, row))  # stable: equal scores stay in column order
    found, row, value = found[order], row[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, np.arange(n_rows))[row]
    keep = (rank < k) & np.isfinite(value)
    items = np.full((n_rows, k), -1, dtype=np.int32)
    best = np.full((n_rows, k), np.nan, dtype=np.float32)
    items[row[keep], rank[keep]] = found[keep] - row[keep] * n_columns
    best[row[keep], rank[keep]] = value[keep]
    return items, best


def _lowest_columns(scores: np.ndarray, edge: np.ndarray, width: int) -> np.ndarray:
    """(R, width) columns: all above the edge, then the first ones equal to it."""
    above, equal = scores > edge, scores == edge
    room = width - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (np.cumsum(equal, axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(scores), width)
