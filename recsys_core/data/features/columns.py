"""Columns of a table read as what they mean: text cells, numbers, dates, lists of values."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from ..ids import as_text

MISSING = {"", "nan", "none", "null", "n/a", "<na>", "nat", "\\n"}
LARGEST = 1e100  # numbers beyond are taken for a mistake: their squares would overflow
LISTS = "json"  # the separator of cells that hold a list: '["Action", "Comedy"]'
_DIGITS = {base + n: str(n) for base in (0x660, 0x6F0, 0x966, 0x9E6, 0xFF10) for n in range(10)}  # Arabic, Persian, Indian, full-width
_PLAIN = r"^[-+]?[\d.,  '’]*\d(?:[eE][-+]?\d+)?$"
_DATE = (
    r"^(?:\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?(?:\D.*)?|\d{1,2}[-/. ]\d{1,2}[-/. ]\d{4}(?:\D.*)?"
    r"|\d{1,2}[-/. ]+[^\W\d]{3,9}[-/., ]+\d{2,4}(?:\D.*)?|[^\W\d]{3,9}\.? \d{1,2},? \d{4}(?:\D.*)?)$"
)


def columns_of(table: pd.DataFrame) -> dict[str, pd.Series]:
    """name -> column; a name used more than once gets "#2", "#3"."""
    names = pd.Series([str(name) for name in table.columns], dtype=object)
    repeat = names.groupby(names).cumcount() + 1
    unique = [name if n == 1 else f"{name}#{n}" for name, n in zip(names, repeat, strict=True)]
    return {name: table.iloc[:, k].reset_index(drop=True) for k, name in enumerate(unique)}


def cells(column: pd.Series) -> pd.Series:
    """Every cell as trimmed text, None where there is nothing; 7.0 is "7"; a list becomes JSON."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype == object:
        column = column.map(_as_json)
    text = as_text(column).str.strip()
    return text.mask(text.isna() | text.str.lower().isin(MISSING)).astype(object).where(lambda x: x.notna(), None)


def different(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """(int64 (n,): which value each row has, -1 for none; the different cells as `cells` gives them, in order of appearance).

    Each different value is cleaned once, not each row."""
    mixed = column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) != "string"  # 1, True and lists
    first, found = pd.factorize(cells(column) if mixed else column)
    second, values = pd.factorize(cells(pd.Series(found)))
    return np.append(second, -1)[first].astype(np.int64), np.asarray(values, dtype=object)


def _as_json(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, set | frozenset):
        cell = sorted(cell, key=str)
    return json.dumps(list(cell), ensure_ascii=False, default=str) if isinstance(cell, list | tuple) else cell


def values_of(cell: str, separator: str) -> list[str]:
    """The values of one cell, each once, trimmed."""
    parts = _list_of(cell) if separator == LISTS else cell.split(separator.strip() or None)
    return list(dict.fromkeys(part for part in (str(p).strip() for p in parts) if part and part.lower() not in MISSING))


def _list_of(cell: str) -> list[Any]:
    """'["a", "b"]' or "['a', 'b']" or '[a, b]'."""
    for text in (cell, cell.replace("'", '"')):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return [part for part in found if part is not None] if isinstance(found, list) else [found]
    return [part.strip().strip("'\"") for part in cell.strip("[]").split(",")]


def broken_lists(distinct: pd.Series) -> np.ndarray:
    """bool (n,): cells that begin like a list and do not end like one, or are no list at all."""
    bare = distinct.str.strip()
    return ~(bare.str.startswith("[") & bare.str.endswith("]")).to_numpy(bool)


def numbers(column: pd.Series, decimal: str = ".") -> np.ndarray:
    """float64 (n,), NaN where there is none. Reads 1,234.5 and $1,234 (decimal "."), 1.234,5 (decimal ",")."""
    if pd.api.types.is_numeric_dtype(column) and not isinstance(column.dtype, pd.CategoricalDtype):
        usual = isinstance(column.dtype, np.dtype)
        plain = column.to_numpy(np.float64) if usual else column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    else:
        code, distinct = different(column)
        plain = np.append(_read_numbers(pd.Series(distinct, dtype=object).astype("str"), decimal), np.nan)[code]  # code -1: nothing there
    return np.where(np.abs(plain) < LARGEST, plain, np.nan)


def _read_numbers(text: pd.Series, decimal: str) -> np.ndarray:
    """float64: of clean cells; only those that are no plain numbers are looked at twice."""
    found = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = np.ones(len(text), dtype=bool) if decimal == "," else np.isnan(found)
    if odd.any():
        rest = text[odd].str.translate(_DIGITS).str.replace(r"^[$€£¥]\s*|\s*[%$€£¥]$", "", regex=True)
        rest = rest.str.replace(r"[  '’]" + (r"|\." if decimal == "," else r"|,(?=\d{3}(?:\D|$))"), "", regex=True)
        rest = pd.to_numeric(rest.str.replace(",", ".", regex=False) if decimal == "," else rest, errors="coerce")
        found = found.copy()
        found[odd] = rest.to_numpy(np.float64, na_value=np.nan)
    return found


def looks_numeric(distinct: pd.Series) -> str | None:
    """The decimal mark when nearly all of these cells are numbers, else None (codes with leading zeros are no numbers)."""
    bare = distinct.str.replace(r"^[$€£¥]\s*|\s*[%$€£¥]$", "", regex=True)
    if bare.str.match(_PLAIN).mean() < 0.95 or bare.str.match(r"^[-+]?0\d").any():
        return None
    comma = bare.str.match(r"^[-+]?\d{1,3}(?:\.\d{3})*,\d+$|^[-+]?\d+,\d+$") & ~bare.str.match(r"^[-+]?[1-9]\d{0,2}(?:,\d{3})+$")
    decimal = "," if comma.any() and not bare.str.match(r"^[-+]?[\d,]*\.(?:\d{1,2}|\d{4,})$").any() else "."
    return decimal if np.isfinite(numbers(distinct, decimal)).mean() >= 0.95 else None


def days(column: pd.Series, day_first: bool = False, unit: str | None = None) -> np.ndarray:
    """float64 (n,): days since 1970, NaN where there is no date. unit: "s" or "ms" for numbers counted from 1970."""
    if pd.api.types.is_datetime64_any_dtype(column):
        when = pd.to_datetime(column, utc=True)
        return _days(when)
    if unit is not None:
        return numbers(column) / (86_400 * (1000 if unit == "ms" else 1))
    code, distinct = different(column)
    when = pd.to_datetime(pd.Series(distinct, dtype=object), errors="coerce", format="mixed", dayfirst=day_first, utc=True)
    return np.append(_days(when), np.nan)[code]


def any_days(column: pd.Series) -> np.ndarray:
    """float64 (n,): days since 1970, NaN where there is no date, however the column is written: dates of any order, 20260301, or
    numbers that count seconds (or their thousandths, millionths, billionths) from 1970."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return days(column)
    counted = numbers(column)
    code, distinct = different(column)
    text = pd.Series(distinct, dtype=object).astype("str")
    dated = text.str.fullmatch(r"(?:19|20)\d{6}").astype(bool)
    if np.isfinite(counted).sum() <= 0.9 * (code >= 0).sum():
        dated |= text.str.match(_DATE).astype(bool)
    elif (middle := float(np.nanmedian(counted)) if np.isfinite(counted).any() else 0.0) > 1e8:
        return counted / (86_400 * 1000 ** int(np.digitize(middle, [1e11, 1e14, 1e17])))
    found = days(text.where(dated), bool(looks_like_dates(text[dated])) if dated.any() else False)
    return np.append(found, np.nan)[code]


def _days(when: pd.Series) -> np.ndarray:
    seconds = when.dt.as_unit("s").astype("int64").to_numpy(np.float64)  # not nanoseconds: they end in 2262
    return np.where(when.isna(), np.nan, seconds / 86_400)


def looks_like_dates(distinct: pd.Series) -> bool | None:
    """day_first when nearly all of these cells are dates, else None."""
    if distinct.str.match(_DATE).mean() < 0.95:
        return None
    leading = pd.to_numeric(distinct.str.extract(r"^(\d{1,2})[-/. ]\d{1,2}[-/. ]\d{4}")[0], errors="coerce")
    day_first = bool((leading > 12).any())
    return day_first if np.isfinite(days(distinct, day_first)).mean() >= 0.9 else None
