"""From good rows to interactions: time decay, duplicates merged, the k-core filter. All vectorised."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .report import KCoreReport

SECONDS_PER_DAY = 86_400.0
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


def merge(rows: Interactions, n_items: int, rule: str) -> Interactions:
    """One row per (user, item), at the place and time of its last row.

    rule: last (by time, then by place in the file), sum, max or count of the values.
    Cost: one sort of n keys when nothing repeats, two more of the repeated rows when something does.
    """
    key = rows.user.astype(np.int64) * n_items + rows.item
    ordered = np.sort(key)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return replace(rows, value=np.ones(len(rows), np.float32)) if rule == "count" else rows
    del ordered
    repeated = np.unique(repeated)
    near = np.minimum(np.searchsorted(repeated, key), len(repeated) - 1)
    twice = np.flatnonzero(repeated[near] == key)
    del near
    keys = key[twice]
    order = np.argsort(keys, kind="stable") if rows.time is None else np.lexsort((rows.time[twice], keys))
    keys, at = keys[order], twice[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.concatenate([starts[1:], [len(keys)]])
    last = at[ends - 1]
    value = np.ones(len(rows), np.float32) if rule == "count" else rows.value.copy()
    if rule == "sum":
        value[last] = np.add.reduceat(rows.value[at].astype(np.float64), starts)
    elif rule == "max":
        value[last] = np.maximum.reduceat(rows.value[at], starts)
    elif rule == "count":
        value[last] = ends - starts
    keep = np.ones(len(rows), bool)
    keep[at] = False
    keep[last] = True
    return replace(rows, value=value).take(np.flatnonzero(keep))


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
        min_user=min_user, min_item=min_item, rounds=rounds, users=users_before - users_left, items=items_before - items_left, rows=n_rows - len(rows)
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
