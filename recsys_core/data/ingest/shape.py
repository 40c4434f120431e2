"""From good rows to interactions: time decay, duplicates merged, the k-core filter. All vectorised."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from .report import KCoreReport

SECONDS_PER_DAY = 86_400.0
PACK_BITS = 62  # of an int64, sign and one to spare
SMALLEST_WEIGHT = 1e-6  # a decayed interaction stays an interaction


@dataclass(frozen=True)
class Interactions:
    """Arrays of one length: codes, value, time or None."""

    user: np.ndarray
    item: np.ndarray
    value: np.ndarray
    time: np.ndarray | None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, at: np.ndarray) -> Interactions:
        return Interactions(self.user[at], self.item[at], self.value[at], None if self.time is None else self.time[at])


def decay(rows: Interactions, half_life_days: float) -> Interactions:
    """Weights halved for every half-life before the newest time of the data."""
    if rows.time is None or not len(rows):
        return rows
    age_days = (rows.time.max() - rows.time) / SECONDS_PER_DAY
    weight = rows.value * np.exp2(-age_days / half_life_days)
    return replace(rows, value=np.maximum(weight, SMALLEST_WEIGHT).astype(np.float32))


def merge(rows: Interactions, n_users: int, n_items: int, rule: str) -> Interactions:
    """One row per (user, item), at the place and time of its last row.

    rule: last (by time, then by place in the file), sum, max or count of the values.
    Cost: one sort of n keys, and a few passes over the rows that repeat a pair.
    """
    if not len(rows):
        return rows
    key, order = _sorted_pairs(rows, n_users, n_items)
    same = key[1:] == key[:-1]
    value = np.ones(len(rows), np.float32) if rule == "count" else rows.value
    if not same.any():
        return replace(rows, value=value)
    several = np.zeros(len(rows), bool)
    several[1:] = same
    several[:-1] |= same
    key, at = key[several], order[several]  # at: the rows of repeated pairs, by pair, then by place in the file
    del order, same, several
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    sizes = np.diff(np.append(starts, len(at)))
    if rows.time is None:
        last = starts + sizes - 1
    else:
        time = rows.time[at]
        newest = time == np.repeat(np.maximum.reduceat(time, starts), sizes)
        last = np.maximum.reduceat(np.where(newest, np.arange(len(at)), -1), starts)
    kept = at[last]
    value = value.copy()
    if rule == "count":
        value[kept] = sizes
    elif rule == "sum":
        value[kept] = np.add.reduceat(rows.value[at], starts, dtype=np.float64)
    elif rule == "max":
        value[kept] = np.maximum.reduceat(rows.value[at], starts)
    stays = np.ones(len(rows), bool)
    stays[at] = False
    stays[kept] = True
    return replace(rows, value=value).take(np.flatnonzero(stays))


def _sorted_pairs(rows: Interactions, n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """(sorted pair keys, the stable order that sorts them)."""
    key = rows.user.astype(np.int64) * n_items + rows.item
    place_bits = int(len(rows) - 1).bit_length()
    if int(n_users * n_items).bit_length() + place_bits <= PACK_BITS:
        # Pair and place in one number: a plain sort, several times as fast as any argsort, gives both.
        key <<= place_bits
        key |= np.arange(len(rows))
        key.sort()
        order = key & ((1 << place_bits) - 1)
        key >>= place_bits
        return key, order
    order = _counting_order(rows.item, n_items)
    order = order[_counting_order(rows.user[order], n_users)]
    return key[order], order


def _counting_order(codes: np.ndarray, n: int) -> np.ndarray:
    """A stable argsort of codes 0 … n-1 in linear time: scipy's csr -> csc is a counting sort."""
    whole = sparse.csr_matrix((np.ones(len(codes), np.int8), codes, np.arange(len(codes) + 1)), shape=(len(codes), n))
    return whole.tocsc().indices


def kcore(rows: Interactions, n_users: int, n_items: int, min_user: int, min_item: int) -> tuple[Interactions, KCoreReport]:
    """Remove users and items with too few interactions, again and again until all have enough."""
    n_rows, rounds = len(rows), 0
    users_before = int(np.count_nonzero(np.bincount(rows.user, minlength=n_users)))
    items_before = int(np.count_nonzero(np.bincount(rows.item, minlength=n_items)))
    while len(rows):
        enough = (np.bincount(rows.user, minlength=n_users) >= min_user)[rows.user]
        enough &= (np.bincount(rows.item, minlength=n_items) >= min_item)[rows.item]
        if enough.all():
            break
        rows = rows.take(np.flatnonzero(enough))
        rounds += 1
    users_left, items_left = len(np.unique(rows.user)), len(np.unique(rows.item))
    report = KCoreReport(
        min_user=min_user,
        min_item=min_item,
        rounds=rounds,
        users=users_before - users_left,
        items=items_before - items_left,
        rows=n_rows - len(rows),
    )
    return rows, report


def compact(codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes renumbered over those in use, the old codes in use); order kept."""
    used = np.zeros(n, bool)
    used[codes] = True
    old = np.flatnonzero(used)
    if len(old) == n:
        return codes, old
    renumber = np.cumsum(used, dtype=np.int32) - 1
    return renumber[codes].astype(np.int32), old
