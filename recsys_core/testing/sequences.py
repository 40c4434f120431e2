"""Synthetic sequences whose next item depends on the last two, with the law that made them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.ids import IdMap

HOUR = 3_600
NOISE = 0.15  # share of the events that follow nothing but popularity


@dataclass(frozen=True)
class SecondOrder:
    """Sequences and what is true of them.

    Every item belongs to one of G groups. After an item of group a and then one of group b, the next item comes with
    probability 1 - NOISE from the followers of (a, b), the first of them most often, else from all items by popularity
    (a long tail). Nobody meets an item twice: shares are those of the items still unseen. Tastes do not
    exist: only order says what comes next.

    data: the whole sequences, times ascending. group: int64 (I,). follows: float64 (G, G, I), rows sum to 1 before
    what is seen is taken out. popularity: float64 (I,), sums to 1.
    """

    data: Dataset
    group: np.ndarray
    follows: np.ndarray
    popularity: np.ndarray

    def oracle(self, histories: Histories) -> np.ndarray:
        """float64 (B, I): the probability of each item after these histories; only popularity for fewer than two items."""
        last = histories.padded(2, -1)
        rows = _law(self.follows, self.popularity, self.group, last)
        return _unseen(rows, self.popularity, histories.matrix(len(self.group)).toarray() > 0)

    def first_order_oracle(self, histories: Histories) -> np.ndarray:
        """float64 (B, I): the same for who knows the law and the last item, but not the one before it.

        The group before the last is taken as often as it precedes the last one's group in `data`.
        """
        everything = self.data.histories()
        same = everything.row[1:] == everything.row[:-1]
        before, after = self.group[everything.items[:-1]][same], self.group[everything.items[1:]][same]
        n_groups = len(self.follows)
        pairs = np.bincount(before * n_groups + after, minlength=n_groups**2).reshape(n_groups, n_groups).astype(np.float64)
        share = pairs / np.maximum(pairs.sum(axis=0), 1)  # column b: which group comes before b
        blind = np.einsum("ab,abi->bi", share, self.follows)  # (G, I)
        last = histories.padded(1, -1)[:, 0]
        rows = np.where((last >= 0)[:, None], blind[self.group[last]], self.popularity)
        return _unseen(rows, self.popularity, histories.matrix(len(self.group)).toarray() > 0)


def second_order(
    n_users: int = 2_000, n_items: int = 500, n: int = 50, seed: int = 0, *, n_groups: int = 10, followers: int = 10
) -> SecondOrder:
    """n_users sequences of 0.8 n to 1.2 n events over n_items, of which half at most are met by one user.

    Groups are of equal size and say nothing of popularity. Cost: n steps, each over users × items floats.
    """
    longest = round(1.2 * n)
    if 2 * longest > n_items or not 1 <= followers <= n_items or not 1 <= n_groups <= n_items:
        raise ValueError(f"sequences of {longest} events need at least {2 * longest} items (and groups, followers); got {n_items}")
    rng = np.random.default_rng(seed)
    group = rng.permutation(n_items) % n_groups
    popularity = 1 / (rng.permutation(n_items) + 10.0)
    popularity /= popularity.sum()
    chosen = np.argsort(-(np.log(popularity) * 0.5 + rng.gumbel(size=(n_groups, n_groups, n_items))), axis=2)[..., :followers]
    follows = np.zeros((n_groups, n_groups, n_items))
    np.put_along_axis(follows, chosen, np.broadcast_to(1 / np.arange(1.0, followers + 1), chosen.shape), axis=2)
    follows /= follows.sum(axis=2, keepdims=True)

    sequence = np.full((n_users, longest), -1, dtype=np.int64)
    seen = np.zeros((n_users, n_items), dtype=bool)
    last = np.full((n_users, 2), -1, dtype=np.int64)
    for step in range(longest):
        probability = _unseen(_law(follows, popularity, group, last), popularity, seen)
        cumulative = np.cumsum(probability, axis=1)
        item = (cumulative < rng.random(n_users)[:, None] * cumulative[:, -1:]).sum(axis=1)
        sequence[:, step] = item
        seen[np.arange(n_users), item] = True
        last = np.stack([last[:, 1], item], axis=1)
    length = rng.integers(round(0.8 * n), longest + 1, n_users)
    user, step = np.nonzero(np.arange(longest) < length[:, None])
    ids = IdMap([f"u{k:06d}" for k in range(n_users)]), IdMap([f"i{k:06d}" for k in range(n_items)])
    data = Dataset(*ids, user, sequence[user, step], np.ones(len(user)), step * HOUR, name="second order")
    return SecondOrder(data, group, follows, popularity)


def _law(follows: np.ndarray, popularity: np.ndarray, group: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(B, I): followers of the groups of the last two items (B, 2), -1 where there are none: popularity."""
    rows = follows[group[last[:, 0]], group[last[:, 1]]]
    return np.where((last >= 0).all(axis=1)[:, None], rows, popularity)


def _unseen(rows: np.ndarray, popularity: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(B, I): followers and popularity, each over what is unseen, mixed by NOISE; popularity alone if no follower is left."""
    left, rest = np.where(seen, 0.0, rows), np.where(seen, 0.0, popularity)
    total = left.sum(axis=1, keepdims=True)
    rest /= rest.sum(axis=1, keepdims=True)
    return np.where(total > 1e-12, (1 - NOISE) * left / np.maximum(total, 1e-12) + NOISE * rest, rest)
