"""What each column of a table is, guessed from its values and its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .columns import LISTS, cells, looks_like_dates, looks_numeric, numbers, values_of
from .prose import OBJECTS, why_not_prose
from .vectors import holds_vectors

ID_NAME = re.compile(r"(?:^|[_\W])(?i:id|ids|uuid|guid|isbn|asin|ean|sku|url|link)$|[a-z](?:Id|ID|Url|URL)$")
CODE_NAME = re.compile(r"zip|postal|postcode|plz|code$", re.I)
TIME_NAME = re.compile(r"date|time|released|joined|created|_at$|_on$|since", re.I)
FEW_NUMBERS = 12  # whole numbers with at most this many values are categories
LARGEST_SAMPLE = 100_000  # rows looked at

EMPTY = "It is empty."
CONSTANT = "It has the same value in every row."
NEAR_UNIQUE = "Nearly every row has a value of its own, and it is no text (an id, a code)."
ROW_NUMBERS = "It is an id or numbers the rows."
UNEVEN = "Its cells are lists of numbers without a common length."
GROUPED = "It is part of a group of columns that is left out."


@dataclass(frozen=True)
class Guess:
    """kind None = left out, for `reason`. settings: what the field's encoder must know to read the column."""

    kind: str | None
    reason: str = ""
    settings: dict[str, Any] | None = None


def members(what: Guess) -> list[str]:
    """The columns that together are this entry of a schema; none where it is a column itself."""
    return list((what.settings or {}).get("columns") or [])


def rare_below(n_rows: int) -> int:
    """Values that fewer rows have are rare: 2 for small tables, 20 for a million rows."""
    return int(np.clip(round(n_rows**0.5 / 10), 2, 20))


def guess(name: str, column: pd.Series) -> Guess:
    """The kind of one column."""
    rare = float(rare_below(len(column)))
    if len(column) > LARGEST_SAMPLE:
        rare = max(2.0, rare * LARGEST_SAMPLE / len(column))
        column = column.sample(LARGEST_SAMPLE, random_state=0).reset_index(drop=True)
    vectors = holds_vectors(column)
    if vectors is not None:
        return Guess("vector", settings={}) if vectors == "yes" else Guess(None, UNEVEN)
    text = cells(column)
    present = text[text.notna()]
    if len(present) == 0:
        return Guess(None, EMPTY)
    counts = present.value_counts()
    distinct = pd.Series(counts.index, dtype=object).astype("str")
    if len(distinct) == 1 and len(present) == len(column):
        return Guess(None, CONSTANT)
    if pd.api.types.is_datetime64_any_dtype(column):
        return Guess("date", settings={"day_first": False, "unit": None})
    if pd.api.types.is_bool_dtype(column):
        return Guess("categorical")
    if counts.to_numpy()[distinct.str.startswith("[") & distinct.str.endswith("]")].sum() >= 0.9 * len(present):
        return _guess_lists(counts, rare)
    decimal = looks_numeric(distinct)
    if decimal is not None:
        return _guess_numbers(name, column, counts, rare, decimal)
    day_first = looks_like_dates(distinct)
    if day_first is not None:
        return Guess("date", settings={"day_first": day_first, "unit": None})
    separator = _separator(counts, rare)
    if separator is not None:
        return Guess("multi_valued", settings={"separator": separator})
    return _guess_categories(name, counts, rare)


def settings_to_read(what: Guess, column: pd.Series | pd.DataFrame) -> dict[str, Any]:
    """Its settings, with what reading the column needs and nobody said (a kind that was chosen, not guessed): the decimal mark,
    what parts the values, whether the day comes first."""
    settings = dict(what.settings or {})
    needs = {"numeric": "decimal", "multi_valued": "separator", "date": "day_first"}.get(what.kind or "")
    if needs is None or needs in settings or isinstance(column, pd.DataFrame):
        return settings
    text = cells(column.sample(LARGEST_SAMPLE, random_state=0) if len(column) > LARGEST_SAMPLE else column).dropna()
    counts = text.value_counts()
    distinct = pd.Series(counts.index, dtype=object).astype("str")
    if not len(counts):
        return settings
    if what.kind == "numeric":
        return settings | {"decimal": looks_numeric(distinct) or "."}
    if what.kind == "date":
        return settings | {"day_first": bool(looks_like_dates(distinct))}
    if (distinct.str.startswith("[") & distinct.str.endswith("]")).mean() >= 0.5:
        return settings | {"separator": LISTS}
    return settings | {"separator": max(("|", ";", ",", "/"), key=lambda mark: distinct.str.contains(mark, regex=False).mean())}


def _guess_numbers(name: str, column: pd.Series, counts: pd.Series, rare: float, decimal: str) -> Guess:
    found = numbers(column, decimal)
    found = found[~np.isnan(found)]
    distinct = np.unique(found)
    whole = bool((distinct % 1 == 0).all())
    if not whole:
        return Guess("numeric", settings={"decimal": decimal})
    own = len(distinct) > 0.9 * len(found) and len(found) > FEW_NUMBERS
    if own and (ID_NAME.search(name) or distinct[-1] - distinct[0] < 1.5 * len(found)):
        return Guess("id", ROW_NUMBERS)
    if TIME_NAME.search(name) and 1e8 <= np.median(distinct) <= 5e12:
        return Guess("date", settings={"day_first": False, "unit": "ms" if np.median(distinct) > 1e11 else "s"})
    if ID_NAME.search(name) or CODE_NAME.search(name):
        return _guess_categories(name, counts, rare)
    return Guess("categorical") if len(distinct) <= FEW_NUMBERS else Guess("numeric", settings={"decimal": decimal})


def _guess_categories(name: str, counts: pd.Series, rare: float) -> Guess:
    """Categories when at least half of the rows share their value with others, else a text, or what only tells rows apart."""
    shared = counts[counts >= rare].sum() / counts.sum()
    if shared >= 0.5:
        return Guess("categorical")
    why = why_not_prose(name, pd.Series(counts.index, dtype=object).astype("str")) or ("?" if ID_NAME.search(name) else "")
    if why:
        return Guess(None if why == OBJECTS else "id", NEAR_UNIQUE if why == "?" else why)
    return Guess("text", settings={})


def _guess_lists(counts: pd.Series, rare: float) -> Guess:
    lists = pd.Series([values_of(cell, LISTS) for cell in counts.index])
    shared = _shared(lists, counts.to_numpy(), rare)
    return Guess("multi_valued", settings={"separator": LISTS}) if shared >= 0.5 else Guess(None, NEAR_UNIQUE)


def _separator(counts: pd.Series, rare: float) -> str | None:
    """What parts the values of a cell, or None: values must return in ever new combinations.

    A mark that names seldom hold (| ;) needs less proof than a comma or a slash; blanks need the most.
    """
    rows, distinct = counts.to_numpy(), pd.Series(counts.index, dtype=object).astype("str")
    for mark, most_values in (("|", 2.0), (";", 1.5), (",", 0.9), ("/", 0.6), (" ", 0.5)):
        has = distinct.str.contains(mark, regex=False)
        if rows[has].sum() <= 0.1 * rows.sum():
            continue
        lists = pd.Series([values_of(cell, mark) for cell in distinct])
        few = lists.explode().nunique() <= most_values * len(distinct)
        needed = 0.9 if mark == " " else 0.7
        lengths = lists.str.len().value_counts(normalize=True)
        # Blanks part lists only where few words return in cells of differing length; titles have a cell of their own each.
        varied = mark != " " or (lengths.max() < 0.8 and len(distinct) < 0.7 * rows.sum())
        if few and varied and _shared(lists, rows, rare) >= needed:
            return mark
    return None


def _shared(lists: pd.Series, rows: np.ndarray, rare: float) -> float:
    """Share of the values, over all rows, that are not rare."""
    lengths = lists.str.len().to_numpy()
    used = pd.Series(np.repeat(rows, lengths)).groupby(lists.explode().dropna().to_numpy()).sum()
    return float(used[used >= rare].sum() / max(1, used.sum()))
