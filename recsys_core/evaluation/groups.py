"""Kinds of users and kinds of items: by activity, by popularity, by newness, by any column of a table.

A `Grouping` is a sparse table of who is in which group; an item may be in several ("Action|Comedy"). What has fewer than
`FEW` members that count is merged with the other small values of its column, and where that is not possible it is shown
as "too few to tell".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.dataset import Dataset
from ..data.features import GROUPING
from ..data.features.columns import cells, days, numbers, values_of
from ..data.features.guessing import guess
from ..errors import Unsupported
from ..metrics._catalog import HEAD_SHARE, head_size

FEW = 30  # users (or held-out interactions) below which nothing is said of a group
MOST_GROUPS = 10  # of one column; the smaller ones are merged
QUANTILES = 4  # parts of a column of numbers or dates
LATE_SHARE = 0.1  # of the training interactions: who is first seen among the latest is a newcomer
OTHER, NO_VALUE = "all others", "no value"
NEW, LATE = "new (not in training)", "newly arrived (first seen late in training)"

Side = Literal["user", "item"]


@dataclass(frozen=True, eq=False)
class Grouping:
    """label: what the groups differ in ("genres"). names: of the G groups, in the order they are shown.

    member: csr bool (n, G), row = code. saying: how a group is named in a sentence, with {} for its name. note: how the
    groups were made, a sentence or "".
    """

    label: str
    side: Side
    names: tuple[str, ...]
    member: sparse.csr_matrix
    saying: str = "{}"
    note: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sizes(self) -> np.ndarray:
        """int64 (G,): members."""
        return np.bincount(self.member.indices, minlength=len(self.names))

    @property
    def overlapping(self) -> bool:
        """Whether something is in more than one group."""
        return bool((np.diff(self.member.indptr) > 1).any())

    @cached_property
    def shares(self) -> sparse.csr_matrix:
        """csr float (n, G): a member of m groups counts 1/m in each, so that shares sum to 1."""
        out = self.member.astype(np.float64)
        times = np.diff(out.indptr)
        out.data /= np.repeat(times, times)
        return out

    def said(self, group: int | str) -> str:
        """ "light users", "plan free"."""
        name = self.names[group] if isinstance(group, int | np.integer) else group
        if name in (OTHER, NO_VALUE):
            return name if name == OTHER else f"{self.side}s without {self.label}"
        return self.saying.format(name.partition(" (")[0])

    @classmethod
    def of_codes(cls, label: str, side: Side, codes: np.ndarray, names: Sequence[str], **more: str) -> Grouping:
        """From one group number a code (-1: in none); groups without a member are left out."""
        used = np.unique(codes[codes >= 0])
        row = np.flatnonzero(codes >= 0)
        column = np.searchsorted(used, codes[row])
        member = sparse.csr_matrix((np.ones(len(row), bool), (row, column)), shape=(len(codes), len(used)))
        return cls(label, side, tuple(names[i] for i in used), member, **more)


def by_activity(history_sizes: np.ndarray, users: np.ndarray) -> Grouping:
    """Light, medium and heavy users: thirds of `users` (codes) by training history; those without any are new users.

    history_sizes: int (U,), items in training. Users of the same size are in the same group, so fewer can come out.
    """
    sizes = np.asarray(history_sizes)
    codes = np.full(len(sizes), -1)
    own = sizes[users]
    known = own > 0
    codes[users[~known]] = 0
    names = ["new (no history)", "", "", ""]
    if known.any():
        edges = np.quantile(own[known], [1 / 3, 2 / 3], method="inverted_cdf")
        group = 1 + (own > edges[0]).astype(np.int64) + (own > edges[1])
        codes[users[known]] = group[known]
        for g, word in enumerate(("light", "medium", "heavy"), start=1):
            part = own[known & (group == g)]
            names[g] = f"{word} ({_span(part.min(), part.max())} item{'' if part.max() == 1 else 's'})" if len(part) else word
    note = "Users by how many items they have in training, a third each."
    return Grouping.of_codes("How active users are", "user", codes, names, saying="{} users", note=note)


def user_newness(train: Dataset, users: np.ndarray) -> Grouping:
    """Users training never met, newcomers, and those longer known."""
    codes = np.full(train.n_users, -1)
    codes[users] = _newness(train, train.user, train.n_users)[users]
    note = _late_note(train)
    return Grouping.of_codes("How new users are", "user", codes, [NEW, LATE, _known(train)], saying="{} users", note=note)


def item_newness(train: Dataset) -> Grouping:
    """Items training never met, late arrivals, and the rest."""
    codes = _newness(train, train.item, train.n_items)
    note = _late_note(train)
    return Grouping.of_codes("How new items are", "item", codes, [NEW, LATE, _known(train)], saying="{} items", note=note)


def _known(train: Dataset) -> str:
    return "known (in training)" if train.time is None else "long known"


def _newness(train: Dataset, code: np.ndarray, n: int) -> np.ndarray:
    """int (n,): 0 not in training, 1 first seen among its latest interactions, 2 earlier (or without times)."""
    out = np.full(n, 2)
    out[np.bincount(code, minlength=n) == 0] = 0
    if train.time is not None and len(train):
        first = np.full(n, np.iinfo(np.int64).min)
        order = np.argsort(-train.time, kind="stable")
        first[code[order]] = train.time[order]  # the last written is the earliest
        out[(out == 2) & (first > np.quantile(train.time, 1 - LATE_SHARE, method="inverted_cdf"))] = 1
    return out


def _late_note(train: Dataset) -> str:
    if train.time is None:
        return "The data has no times, so nothing is said of when they were first seen."
    return f"Newly arrived: first seen in the last {100 * LATE_SHARE:g} % of the training interactions by time."


def by_item_popularity(popularity: np.ndarray, head_to: float = 0.5) -> Grouping:
    """Popular, in-between and rare items. popularity: (I,) training users."""
    order = np.argsort(-np.asarray(popularity), kind="stable")
    codes = np.full(len(popularity), 2)
    codes[order[: head_size(popularity, HEAD_SHARE)]] = 1
    codes[order[: head_size(popularity, head_to)]] = 0
    note = "Popular items make half of all training interactions, rare ones the last fifth."
    names = ["popular", "in-between", "rare"]
    return Grouping.of_codes("How popular items are", "item", codes, names, saying="{} items", note=note)


def usable_columns(table: pd.DataFrame | None) -> dict[str, str]:
    """Column -> kind ("categorical", "multi_valued", "numeric", "date") of those that can part users or items into groups: no
    titles, ids or columns of one value."""
    if table is None:
        return {}
    kinds = {name: guess(name, table[name].reset_index(drop=True)).kind for name in map(str, table.columns)}
    return {name: kind for name, kind in kinds.items() if kind in GROUPING}


def by_column(table: pd.DataFrame, column: str, side: Side, n: int, among: np.ndarray | None = None) -> Grouping:
    """Groups by one column: its most frequent values and all others; quarters of numbers and dates.

    table: row = code; codes from len(table) to n have no value. among: codes that count for how large a group is
    (None: all). A cell with several values is in each of their groups. Raises Unsupported for a column of titles or ids.
    """
    values = table[column].reset_index(drop=True)
    found = guess(column, values)
    if found.kind not in GROUPING:
        why = found.reason or "Nearly every row has a value of its own."
        raise Unsupported(f"The column '{column}' cannot part {side}s into groups: {why}", "Choose another column.")
    counts = np.zeros(n, dtype=bool)
    counts[np.arange(n) if among is None else among] = True
    saying = f"{column} {{}}"
    if found.kind in ("numeric", "date"):
        settings = found.settings or {}
        read = numbers(values, settings.get("decimal", ".")) if found.kind == "numeric" else days(values, **settings)
        codes, names = _quantiles(np.append(read, np.full(max(0, n - len(read)), np.nan))[:n], counts, found.kind == "date")
        note = f"{column} in {QUANTILES} parts with about as many {side}s each."
        return Grouping.of_codes(column, side, codes, names, saying=saying, note=note)
    separator = (found.settings or {}).get("separator")
    code, distinct = pd.factorize(cells(values))
    lists = [values_of(cell, separator) if separator else [cell] for cell in distinct]  # one a distinct cell, not one a row
    lengths = np.array([len(one) for one in lists] + [0], dtype=np.int64)
    which, tokens = pd.factorize(np.array([v for one in lists for v in one], dtype=object))
    holds = sparse.csr_matrix((np.ones(len(which), bool), which, np.append(0, np.cumsum(lengths))), shape=(len(lengths), len(tokens)))
    code = np.append(code, np.full(max(0, n - len(code)), -1))[:n]
    return _merged(holds[code], [str(t) for t in tokens], counts, column, side, saying if side == "user" else "{}")


def _merged(member: sparse.csr_matrix, tokens: list[str], counts: np.ndarray, column: str, side: Side, saying: str) -> Grouping:
    """The largest values as groups, then all others, then no value."""
    sizes = np.asarray(counts.astype(np.float64) @ member.astype(np.float64)).ravel()
    order = np.lexsort((np.arange(len(tokens)), -sizes))
    order = order[sizes[order] > 0]
    big = order[: MOST_GROUPS if len(order) <= MOST_GROUPS else MOST_GROUPS - 1]
    big = big[sizes[big] >= FEW] if side == "user" else big
    if len(big) and all(tokens[i][:1].isdigit() for i in big):  # ages, years, sizes: their own order says more than frequency
        big = np.array(sorted(big, key=lambda i: (int(re.match(r"\d+", tokens[i])[0]), tokens[i])))
    small = np.setdiff1d(order, big)
    if len(small) == 1:  # nothing to merge with
        big, small = np.append(big, small), small[:0]
    rest = np.asarray(member[:, small].sum(axis=1)).ravel() > 0
    none = (np.diff(member.indptr) == 0) & counts
    parts = [member[:, big], sparse.csr_matrix(rest[:, None]), sparse.csr_matrix(none[:, None])]
    names = [tokens[i] for i in big] + [OTHER, NO_VALUE]
    whole = sparse.hstack(parts, format="csr").astype(bool)
    whole = whole.multiply(counts[:, None]).tocsr()
    whole.eliminate_zeros()
    used = np.flatnonzero(np.bincount(whole.indices, minlength=len(names)))
    note = f"The most frequent values of {column}; the others together." if len(small) else ""
    return Grouping(column, side, tuple(names[i] for i in used), whole[:, used], saying, note)


def _quantiles(values: np.ndarray, counts: np.ndarray, dates: bool) -> tuple[np.ndarray, list[str]]:
    """(group numbers, names) of numbers or days since 1970; equal values are in the same group."""
    known = np.isfinite(values) & counts
    codes = np.where(counts & ~known, QUANTILES, -1)
    names = [""] * QUANTILES + [NO_VALUE]
    if known.any():
        edges = np.unique(np.quantile(values[known], np.arange(1, QUANTILES) / QUANTILES, method="inverted_cdf"))
        codes[known] = np.searchsorted(edges, values[known], side="left")
        for g in np.unique(codes[known]):
            part = values[known & (codes == g)]
            low, high = part.min(), part.max()
            names[g] = f"{_day(low)} – {_day(high)}" if dates else _span(low, high)
    return codes, names


def _span(low: float, high: float) -> str:
    texts = [f"{v:,.0f}" if v == int(v) else f"{v:,.4g}" for v in (float(low), float(high))]
    return texts[0] if low == high else f"{texts[0]}–{texts[1]}"


def _day(value: float) -> str:
    return str(np.datetime64(int(value), "D"))
