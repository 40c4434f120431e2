"""Training pairs: what of a history is shown, what has to be guessed, and histories as the network reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.dataset import Dataset
from ..data.histories import Histories
from ..nn.batches import Ragged, SparseRows
from ..nn.towers import hide

ALONE = 0.05  # share of the users whose whole history is hidden, where there is a user table to know them by


class Step(NamedTuple):
    """shown: Ragged of B rows over pair numbers, the last n of what is shown. targets, of: int64 (n,): pair numbers to be guessed and the
    row of each. all: every pair of the rows."""

    shown: Ragged
    targets: Tensor
    of: Tensor
    all: Ragged


class Pairs:
    """The distinct (user, item) pairs that are learnt from, by user and, within one, by the time of the last interaction.

    user, item: int64 (n,); value: float32 (n,), the mean of its ratings. rows: user -> pair numbers. active: users that have any.
    """

    def __init__(self, data: Dataset, ratings: bool, device: torch.device | str = "cpu") -> None:
        self.whole = data.histories()
        matrix = data.matrix("value" if ratings else "binary")
        wanted = np.repeat(np.arange(data.n_users), np.diff(matrix.indptr)) * data.n_items + matrix.indices  # ascending
        keys = self.whole.row * data.n_items + self.whole.items.astype(np.int64)
        last = np.full(len(wanted), -1, np.int64)
        at = np.searchsorted(wanted, keys).clip(max=len(wanted) - 1)
        of_pair = wanted[at] == keys
        counted = of_pair & (ratings | (data.threshold is None) | (self.whole.values >= (data.threshold or 0)))
        last[at[counted]] = np.flatnonzero(counted)  # a later one overwrites
        order = np.argsort(last, kind="stable")
        number = np.empty(len(wanted), np.int64)
        number[order] = np.arange(len(wanted))
        self.pair_of_entry = np.where(of_pair, number[at], -1)
        self.user, self.item = np.divmod(wanted[order], data.n_items)
        self.value = matrix.data[order]
        self.items = torch.as_tensor(self.item, device=device)
        self.values = torch.as_tensor(self.value, device=device)
        indptr = matrix.indptr.astype(np.int64)
        self.rows = SparseRows.__new__(SparseRows)
        self.rows.n_rows, self.rows.n_columns = data.n_users, len(wanted)
        self.rows.columns = torch.arange(len(wanted), device=device)
        self.rows.offsets = torch.as_tensor(indptr, device=device)
        self.active = torch.as_tensor(np.flatnonzero(np.diff(indptr)), device=device)
        self._hidden = np.zeros(len(wanted) + 1, bool)  # the last one stands for entries that are no pair

    def step(self, users: Tensor, share: float, most: int, alone: bool) -> Step:
        """A random share of every row is to be guessed; of what is left the last `most` are shown."""
        every = self.rows.take(users)
        shown, targets, of = hide(every, share)
        if alone:
            keep = torch.rand(len(users), device=users.device) >= ALONE
            shown = _kept(shown, keep[shown.rows])
        return Step(last(shown, most), targets, of, every)

    def shown_histories(self, users: np.ndarray, targets: np.ndarray, shown: Ragged) -> Histories:
        """All interactions of the users but those with what has to be guessed; none where nothing at all is shown."""
        self._hidden[targets] = True
        rows = self.whole.take(users)
        starts = self.whole.indptr[users]
        at = np.arange(len(rows.items)) + np.repeat(starts - rows.indptr[:-1], rows.lengths)
        keep = ~self._hidden[self.pair_of_entry[at]]
        self._hidden[targets] = False
        row = rows.row
        keep &= (shown.lengths.cpu().numpy() > 0)[row]
        times = None if rows.times is None else rows.times[keep]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row[keep], minlength=len(rows)))]).astype(np.int64)
        return Histories(indptr, rows.items[keep], rows.values[keep], times)


def last(rows: Ragged, most: int) -> Ragged:
    """The last `most` entries of every row."""
    if not len(rows.columns) or int(rows.lengths.max()) <= most:
        return rows
    from_end = torch.repeat_interleave(rows.offsets[1:], rows.lengths) - torch.arange(len(rows.columns), device=rows.columns.device)
    return _kept(rows, from_end <= most)


def _kept(rows: Ragged, keep: Tensor) -> Ragged:
    offsets = torch.zeros_like(rows.offsets)
    torch.cumsum(torch.bincount(rows.rows[keep], minlength=len(rows)), 0, out=offsets[1:])
    return Ragged(rows.columns[keep], offsets)


def distinct(histories: Histories, n_items: int) -> Histories:
    """Every item of a row once, where it came last; the order stays."""
    keys = histories.row * n_items + histories.items.astype(np.int64)
    _, from_end = np.unique(keys[::-1], return_index=True)
    keep = np.zeros(len(keys), bool)
    keep[len(keys) - 1 - from_end] = True
    indptr = np.concatenate([[0], np.cumsum(np.bincount(histories.row[keep], minlength=len(histories)))]).astype(np.int64)
    times = None if histories.times is None else histories.times[keep]
    return Histories(indptr, histories.items[keep], histories.values[keep], times)
