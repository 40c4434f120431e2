"""Tasks: which items a user shows, and which have to be found."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...data.dataset import Dataset
from ...data.histories import Histories
from ...nn.batches import IndexBatches
from .._pairs import Pairs
from ._network import Task


class Drawn(NamedTuple):
    """Pairs of B users, each row in an order of chance: the first `shown` of a row are shown, the others to be found."""

    items: Tensor  # int64 (n,)
    values: Tensor  # float (n,)
    row: Tensor  # int64 (n,)
    place: Tensor  # int64 (n,): place within the row
    shown: Tensor  # int64 (B,)


class Tasks:
    """Tasks of one step from the training pairs, all by index arithmetic.

    Every pass draws other items to be shown (sub-sampling), none to `shots` of them; at least one is left to be found.
    mixing: share of the tasks that hold two users' items together (the second is another of the same step). domains: (I,) a category
    of each item: the items of a task are then all of one. query_size: items to be found at most, 0 = all.
    """

    def __init__(self, data: Dataset, params: Any, ratings: bool, device: torch.device | str, domains: np.ndarray | None = None) -> None:
        self.pairs = Pairs(data, ratings, device)
        self.params, self.ratings, self.device = params, ratings, device
        self.mean, self.spread = float(data.value.mean()), float(data.value.std()) or 1.0
        self.domains = None if domains is None else torch.as_tensor(domains.astype(np.int64), device=device)
        enough = self.pairs.rows.offsets.diff()[self.pairs.active] > 1
        self.active = self.pairs.active[enough] if bool(enough.any()) else self.pairs.active
        self.batches = IndexBatches(len(self.active), params.batch_size)

    def draw(self, index: Tensor) -> tuple[Tensor, Drawn]:
        """(users (B,), their tasks) of positions in `active`."""
        users = self.active[index]
        rows = self.pairs.rows.take(users)
        pair, row = rows.columns, rows.rows
        if self.params.mixing and len(users) > 1:
            pair, row = self._mixed(pair, row, len(users))
        if self.domains is not None:
            pair, row = self._of_one_domain(pair, row, len(users))
        order = torch.argsort(row.double() + torch.rand(len(row), device=row.device, dtype=torch.float64))
        pair, row = pair[order], row[order]
        lengths = torch.bincount(row, minlength=len(users))
        place = torch.arange(len(row), device=row.device) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
        # Evenly on a logarithmic scale: from nothing to one item is as far as from five to ten.
        drawn = ((self.params.shots + 1.0) ** torch.rand(len(users), device=row.device)).long() - 1
        shown = torch.minimum(drawn, lengths - 1).clamp(min=0)
        if self.params.query_size:
            keep = place < shown[row] + self.params.query_size
            pair, row, place = pair[keep], row[keep], place[keep]
        values = (self.pairs.values[pair] - self.mean) / self.spread
        return users, Drawn(self.pairs.items[pair], values, row, place, shown)

    def tasks(self, drawn: Drawn, place: Tensor, n_items: int, user: Tensor) -> Task:
        """Padded, for vmap. place: where each drawn item is in the world of n_items; user (B, d): by their columns."""
        n, longest = len(drawn.shown), max(1, int(drawn.shown.max()))
        is_shown = drawn.place < drawn.shown[drawn.row]
        shown = torch.zeros(n, longest, dtype=torch.int64, device=place.device)
        there = torch.zeros(n, longest, dtype=torch.bool, device=place.device)
        values = torch.zeros(n, longest, device=place.device)
        at = drawn.row[is_shown], drawn.place[is_shown]
        shown[at], there[at] = place[is_shown], True
        wanted = torch.zeros(n, n_items, device=place.device)
        goal = drawn.row[~is_shown], place[~is_shown]
        left = torch.bincount(goal[0], minlength=n).clamp(min=1)
        wanted[goal] = torch.ones_like(left, dtype=torch.float32)[goal[0]] if self.ratings else 1 / left[goal[0]]
        rated = torch.zeros(n, n_items if self.ratings else 1, device=place.device)
        if self.ratings:
            values[at] = drawn.values[is_shown]
            rated[goal] = drawn.values[~is_shown]
        return Task(shown, there, values, user, wanted, rated)

    def _mixed(self, pair: Tensor, row: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Some rows with the items of the row after them too (each item once)."""
        also = torch.rand(n, device=row.device) < self.params.mixing
        to = (row - 1) % n
        more = also[to]
        pairs, rows = torch.cat([pair, pair[more]]), torch.cat([row, to[more]])
        key = rows * (int(self.pairs.items.max()) + 1) + self.pairs.items[pairs]
        order = torch.argsort(key, stable=True)
        first = torch.ones(len(order), dtype=torch.bool, device=row.device)
        first[1:] = key[order][1:] != key[order][:-1]
        return pairs[order][first], rows[order][first]

    def _of_one_domain(self, pair: Tensor, row: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Only the items of each row's domain: that of one of its items, drawn at random; a row with a single one there is left whole."""
        domain = self.domains[self.pairs.items[pair]]
        lot = torch.rand(len(row), device=row.device)
        best = torch.zeros(n, device=row.device).scatter_reduce(0, row, lot, "amax")
        chosen = torch.zeros(n, dtype=torch.int64, device=row.device)
        first = lot == best[row]
        chosen[row[first]] = domain[first]
        keep = domain == chosen[row]
        keep |= (torch.bincount(row[keep], minlength=n) < 2)[row]
        return pair[keep], row[keep]


def of_histories(read: Histories, users: Tensor, mean: float, spread: float, ratings: bool) -> Task:
    """Tasks with nothing to be found: the histories to adapt to (no item twice in a row), users (B, d)."""
    lengths = torch.as_tensor(read.lengths)
    row = torch.repeat_interleave(lengths)
    place = torch.arange(len(row)) - torch.repeat_interleave(lengths.cumsum(0) - lengths, lengths)
    n, longest = len(read), max(1, int(lengths.max()) if len(lengths) else 1)
    shown, there = torch.zeros(n, longest, dtype=torch.int64), torch.zeros(n, longest, dtype=torch.bool)
    values = torch.zeros(n, longest)
    shown[row, place], there[row, place] = torch.as_tensor(read.items.astype(np.int64)), True
    if ratings:
        values[row, place] = torch.as_tensor((read.values - mean) / spread)
    nothing = torch.zeros(n, 1)
    return Task(*(part.to(users.device) for part in (shown, there, values)), users, nothing.to(users.device), nothing.to(users.device))
