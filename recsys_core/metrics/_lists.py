"""What every metric reads: the lists beside the truth, with the shared counts worked out once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import sparse

from ..data.holdout import Holdout
from ..data.topk import TopK
from ._catalog import Catalog
from ._shares import mixtures


class Lists:
    """Lists of the users of a holdout, in the holdout's order.

    items: int32 (B, K), best first, -1 where there is nothing (a user without a list has only -1; a repeat
    within a list counts as nothing). hits: bool (B, K). n_relevant: int64 (B,).
    """

    def __init__(self, top: TopK, holdout: Holdout, catalog: Catalog) -> None:
        self.users = holdout.users
        self.holdout = holdout
        self.catalog = catalog
        self.relevant = holdout.relevant
        self.items = without_repeats(_aligned(top, holdout.users))
        self.n_relevant = np.diff(self.relevant.indptr).astype(np.int64)
        self.hits = hit_matrix(self.items, self.relevant)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def eligible(self) -> np.ndarray | None:
        """bool (I,): the items lists are made of; None where that is the whole catalogue."""
        if self.holdout.candidates is None:
            return None
        return np.bincount(self.holdout.candidates, minlength=self.catalog.n_items) > 0

    @property
    def n_eligible(self) -> int:
        """How many items lists are made of."""
        return self.catalog.n_items if self.eligible is None else int(self.eligible.sum())

    @cached_property
    def hits_to(self) -> np.ndarray:
        """int32 (B, K): hits among the first p + 1 of the list."""
        return np.cumsum(self.hits, axis=1, dtype=np.int32)

    @cached_property
    def length_to(self) -> np.ndarray:
        """int32 (B, K): items among the first p + 1 of the list."""
        return np.cumsum(self.items >= 0, axis=1, dtype=np.int32)

    @cached_property
    def gain_to(self) -> np.ndarray:
        """float (B, K): discounted gain of the first p + 1."""
        return np.cumsum(self.hits * discounts(self.items.shape[1]), axis=1)

    @cached_property
    def precision_sum_to(self) -> np.ndarray:
        """float (B, K): precision at every hit, summed over the first p + 1."""
        return np.cumsum(self.hits * self.hits_to / np.arange(1, self.items.shape[1] + 1), axis=1)

    @cached_property
    def seen(self) -> sparse.csr_matrix:
        """csr (B, I): what each user had before: training history, or the part given of a cold user."""
        source = self.catalog.seen if self.holdout.given is None else self.holdout.given.matrix("seen")
        return source[self.users]

    @cached_property
    def barred(self) -> sparse.csr_matrix:
        """csr (B, I): what each user had of the items lists are made of."""
        if self.eligible is None:
            return self.seen
        barred = sparse.csr_matrix(self.seen.multiply(self.eligible.astype(np.float32)[None, :]))
        barred.eliminate_zeros()
        return barred

    @cached_property
    def taste(self) -> sparse.csr_matrix:
        """csr (B, G), rows summing to 1 (or empty): the categories of what each user liked before; of all they had where
        they liked none of it."""
        source = self.catalog.train if self.holdout.given is None else self.holdout.given
        liked = source.matrix("binary")[self.users]
        none = (np.diff(liked.indptr) == 0).astype(np.float32)
        had = liked + sparse.diags(none) @ self.seen if none.any() else liked
        return mixtures(had, self.catalog.shares)

    @cached_property
    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, position, item) of every item in the lists, row by row."""
        row, position = np.nonzero(self.items >= 0)
        return row, position, self.items[row, position]

    @cached_property
    def hit_popular_place(self) -> np.ndarray:
        """int32 (B, K): for hits, the item's place (from 0) by popularity among the items the user's list is made of; else 0."""
        row, column = np.nonzero(self.hits)
        rank, n = self.catalog.popularity_rank, self.catalog.n_items
        if self.eligible is not None:
            rank = (np.cumsum(self.eligible[self.catalog.by_popularity]) - 1)[rank]
        seen_row = np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.barred.indptr))
        seen_keys = np.sort(seen_row * n + rank[self.barred.indices])
        own = rank[self.items[row, column]]
        above = np.searchsorted(seen_keys, row * n + own) - np.searchsorted(seen_keys, row * n)
        out = np.zeros(self.hits.shape, dtype=np.int32)
        out[row, column] = own - above
        return out

    def exposure(self, k: int) -> np.ndarray:
        """int64 (n_eligible,): in how many of the lists, cut at k, each of the items is that lists are made of."""
        cut = self.items[:, :k]
        shown = np.bincount(cut[cut >= 0], minlength=self.catalog.n_items)
        return shown if self.eligible is None else shown[self.eligible]

    def mean_over_items(self, values: np.ndarray, k: int) -> np.ndarray:
        """float (B,): mean of values (I,) over the first k of every list; NaN for an empty list."""
        if "_item_sums" not in self.__dict__:
            self._item_sums = {}
        if id(values) not in self._item_sums:
            padded = np.append(values, 0.0)  # -1 picks the last: nothing adds nothing
            self._item_sums[id(values)] = (values, np.cumsum(padded[self.items], axis=1))
        return divide(self._item_sums[id(values)][1][:, k - 1], self.length_to[:, k - 1])


def _aligned(top: TopK, users: np.ndarray) -> np.ndarray:
    """int32 (B, k): the list of every user; -1 for users without one."""
    if len(top.users) == len(users) and np.array_equal(top.users, users):
        return top.items
    out = np.full((len(users), top.k), -1, dtype=np.int32)
    order = np.argsort(top.users, kind="stable")
    at = np.searchsorted(top.users, users, sorter=order)
    at = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(users), np.int64)
    found = top.users[at] == users if len(order) else np.zeros(len(users), bool)
    out[found] = top.items[at[found]]
    return out


def without_repeats(items: np.ndarray) -> np.ndarray:
    """The lists with -1 where an item already stood higher up."""
    order = np.argsort(items, axis=1, kind="stable")
    ranked = np.take_along_axis(items, order, axis=1)
    repeat = np.zeros(items.shape, dtype=bool)
    repeat[:, 1:] = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    if not repeat.any():
        return items
    out = np.empty_like(items)
    np.put_along_axis(out, order, np.where(repeat, -1, ranked), axis=1)
    return out


def hit_matrix(items: np.ndarray, relevant: sparse.csr_matrix) -> np.ndarray:
    """bool (B, K): whether each item is among its row's relevant ones. Cost: B × K look-ups in a sorted array."""
    if relevant.nnz == 0:
        return np.zeros(items.shape, dtype=bool)
    known, wanted = relevant_keys(relevant), _keys(items, relevant.shape[1])
    return known[np.minimum(np.searchsorted(known, wanted), len(known) - 1)] == wanted


def relevant_keys(relevant: sparse.csr_matrix) -> np.ndarray:
    """int64 (nnz,), rising: row · I + item."""
    if not relevant.has_sorted_indices:
        relevant = relevant.sorted_indices()
    row = np.repeat(np.arange(relevant.shape[0], dtype=np.int64), np.diff(relevant.indptr))
    return row * relevant.shape[1] + relevant.indices


def _keys(items: np.ndarray, n_items: int) -> np.ndarray:
    keys = np.arange(len(items), dtype=np.int64)[:, None] * n_items + items
    return np.where((items >= 0) & (items < n_items), keys, -1)


def discounts(k: int) -> np.ndarray:
    """float (k,): 1 / log2(position + 1), positions from 1."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where bottom is 0."""
    bottom = np.asarray(bottom, dtype=np.float64)
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom != 0)
