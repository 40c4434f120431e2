"""Rules looked up in the data: external ids and column names become arrays over items, or an error that says what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.features.columns import any_days, numbers
from ..errors import BadInput
from ..metrics._catalog import category_features, category_names
from ._shelf import Shelf

DAY = 86_400
SHOWN = 8  # names told in an error


@dataclass(frozen=True)
class RuleBook:
    """Over all items. blocked: bool (I,). pin: int (I,), place among the pinned, -1 for others. fresh: bool (I,) or None.
    capped: csr (I, G) of 0 and 1, caps: float (G,), or None. provider: int (I,), -1 = of no provider
    with a smallest share; least: float (P,), those shares."""

    blocked: np.ndarray
    pin: np.ndarray
    fresh: np.ndarray | None
    capped: sparse.csr_matrix | None
    caps: np.ndarray | None
    provider: np.ndarray | None
    least: np.ndarray | None


def rule_book(params: Any, shelf: Shelf) -> RuleBook:
    """params: those of `rules`."""
    blocked = np.zeros(shelf.train.n_items, dtype=bool)
    blocked[codes(shelf, params.blocked, "blocked")] = True
    pinned = codes(shelf, params.pinned, "pinned")
    if blocked[pinned].any():
        both = shelf.train.items.decode(pinned[blocked[pinned]][:1])[0]
        raise BadInput(f"Item '{both}' is both pinned and blocked.", "Take it off one of the lists.")
    pin = np.full(shelf.train.n_items, -1, dtype=np.int64)
    pin[pinned[::-1]] = np.arange(len(pinned))[::-1]  # given twice: its first place
    fresh = _fresh(params, shelf) if params.freshness != "off" else None
    capped, caps = _caps(params, shelf)
    return RuleBook(blocked, pin, fresh, capped, caps, *_providers(params, shelf))


def codes(shelf: Shelf, ids: Sequence[str], rule: str) -> np.ndarray:
    """int64: codes of external item ids; BadInput names the first that training does not have."""
    if not len(ids):
        return np.empty(0, dtype=np.int64)
    wanted = [str(one).strip() for one in ids]
    found = shelf.train.items.encode(wanted).astype(np.int64)
    if (found < 0).any():
        missing, n = wanted[int(np.flatnonzero(found < 0)[0])], int((found < 0).sum())
        more = " is" if n == 1 else f" and {n - 1:,} {'other' if n == 2 else 'others'} are"
        raise BadInput(
            f"{rule}: item '{missing}'{more} not in the data.",
            _known(missing, shelf.train.items.decode(np.arange(min(50_000, shelf.train.n_items))), "Items"),
        )
    return found


def column(shelf: Shelf, name: str, rule: str) -> pd.Series:
    """A column of the item table; BadInput says which there are."""
    table = shelf.item_table
    if table is None or not len(table.columns):
        raise BadInput(f"{rule}: there is no column '{name}', as the data has no item table.", "Add one on the Data page.")
    if name not in table.columns:
        raise BadInput(f"{rule}: the item table has no column '{name}'.", _known(name, table.columns, "Columns"))
    return table[name].reset_index(drop=True)


def _known(wanted: str, names: Iterable[Any], what: str) -> str:
    listed = [str(name) for name in names]
    close = difflib.get_close_matches(str(wanted), listed, n=1)
    more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
    return f"Did you mean '{close[0]}'?" if close else f"{what}: {', '.join(listed[:SHOWN])}{more}."


def _caps(params: Any, shelf: Shelf) -> tuple[sparse.csr_matrix | None, np.ndarray | None]:
    if params.max_per_category is None and not params.category_caps:
        return None, None
    if params.cap_column:
        column(shelf, params.cap_column, "cap_column")
        noted = shelf.train.meta.get("item_columns") or {}
        meta = {"item_columns": {"categories": [params.cap_column], "separator": noted.get("separator")}}
        found, names = category_features(shelf.item_table, meta), category_names(shelf.item_table, meta)
        if found is None:
            raise BadInput(f"cap_column: the column '{params.cap_column}' is empty.", "Choose another column.")
    else:
        found, names = shelf.catalog.features, shelf.group_names if shelf.has_categories else []
        if found is None:
            raise BadInput("Caps need item categories, and the items have none.", "Name a column of the item table as cap_column.")
    caps = np.full(found.shape[1], np.inf if params.max_per_category is None else params.max_per_category)
    places = {name: place for place, name in enumerate(names)}
    for name, cap in params.category_caps.items():
        if name not in places:
            raise BadInput(f"category_caps: there is no category '{name}'.", _known(name, sorted(places), "Categories"))
        if cap < 0:
            raise BadInput(f"category_caps: the cap of '{name}' must be 0 or more; got {cap}.")
        caps[places[name]] = cap
    return sparse.csr_matrix((np.ones_like(found.data), found.indices, found.indptr), shape=found.shape), caps


def _fresh(params: Any, shelf: Shelf) -> np.ndarray:
    """bool (I,): dated within the last days of the data. The last day is that of the last interaction, or of the last date."""
    time = shelf.train.time
    if params.date_column:
        dates = seconds(column(shelf, params.date_column, "date_column"))
        if np.isnan(dates).all():
            raise BadInput(f"date_column: '{params.date_column}' holds no dates.", "Choose a column of dates, years or Unix times.")
        last = float(time.max()) if time is not None and len(time) else float(np.nanmax(dates))
    elif time is not None and len(time):
        dates = np.full(shelf.train.n_items, np.inf)
        np.minimum.at(dates, shelf.train.item, time.astype(np.float64))
        dates[np.isinf(dates)] = np.nan
        last = float(time.max())
    else:
        columns = ", ".join(map(str, shelf.item_table.columns)) if shelf.item_table is not None else ""
        hint = f"Name a date_column of the item table: {columns}." if columns else "Switch the freshness rule off."
        raise BadInput("Freshness needs to know when items came, and the interactions have no times.", hint)
    return np.nan_to_num(dates, nan=-np.inf) >= last - params.newer_than_days * DAY


def seconds(values: pd.Series) -> np.ndarray:
    """float (n,), NaN where there is none: dates, years (1995), or numbers counted from 1970."""
    plain = numbers(values)
    known = plain[np.isfinite(plain)]
    if len(known) and len(known) >= values.notna().sum() * 0.9 and ((known >= 1500) & (known <= 2500)).all():
        return (plain - 1970) * 365.2425 * DAY
    return np.round(any_days(values) * DAY, 3)


def _providers(params: Any, shelf: Shelf) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not params.provider_min_share and not params.provider_shares:
        return None, None
    if not params.provider_column:
        raise BadInput("A smallest share needs a provider_column: the column that says whose an item is.", _columns(shelf))
    values = column(shelf, params.provider_column, "provider_column")
    text = values.astype("str").str.strip().where(values.notna())
    code, names = pd.factorize(text)
    least = np.full(len(names), float(params.provider_min_share))
    places = {name: place for place, name in enumerate(names)}
    for name, share in params.provider_shares.items():
        if name not in places:
            raise BadInput(f"provider_shares: '{params.provider_column}' has no value '{name}'.", _known(name, sorted(places), "Values"))
        if not 0 <= share <= 1:
            raise BadInput(f"provider_shares: the share of '{name}' must be from 0 to 1; got {share:g}.")
        least[places[name]] = share
    if least.sum() > 1 + 1e-9:
        raise BadInput(
            f"The smallest shares of {np.count_nonzero(least):,} providers add up to {least.sum():.0%}; a list has 100 %.",
            "Ask for smaller shares, or for those of some values only (provider_shares).",
        )
    asked = np.flatnonzero(least > 0)  # the others need no book-keeping, however many there are
    place = np.full(len(names) + 1, -1)
    place[asked] = np.arange(len(asked))
    return place[code], least[asked]


def _columns(shelf: Shelf) -> str:
    return f"Columns: {', '.join(map(str, shelf.item_table.columns))}." if shelf.item_table is not None else "The data has no item table."
