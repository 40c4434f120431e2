"""Item and user tables: joined by id, row i describes code i, with a report of what did not join."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ...errors import DataError, WorkbenchError
from ..ids import IdMap
from .opening import repaired
from .report import JoinReport
from .source import Source, unreadable
from .sql import connect, relation, trimmed
from .vocabulary import name_score

_TITLE = re.compile(r"title|^name$|_name$|name$|label|headline|titel|titre|titulo|название|标题|名称|タイトル", re.I)
_CATEGORIES = re.compile(r"genre|attribut|categor|class|tags?$|type|topic|keyword|brand|department|kategorie|类别|类型|分类", re.I)
_LEADING_ZERO = r"^[-+]?0\d"


def join_table(
    source: Source, ids: IdMap, side: str, id_column: str | None, *, keep_new: Callable[[pd.Series], np.ndarray] | None = None
) -> tuple[pd.DataFrame, JoinReport, list[str], IdMap]:
    """(table with one row per code, report, warnings, ids). side: "item" or "user". No overlap is a warning, not an error.

    keep_new: of ids that no interaction has, bool (n,) which ones get a code of their own, after the others; None: none does.
    """
    source, frame, n_rejected = read_table(source)
    column = _id_column(source, frame, ids, side, id_column)
    warnings: list[str] = []
    keys = frame[column]
    present = keys.notna()
    first = present & ~keys.duplicated()
    codes = np.full(len(frame), -1, dtype=np.int32)
    codes[first.to_numpy()] = ids.encode(keys[first])
    joined = codes >= 0
    n_joined, n_known, of_data = int(joined.sum()), len(ids), ids
    if keep_new is not None:
        new = np.flatnonzero(first.to_numpy() & ~joined)
        new = new[keep_new(keys.iloc[new])]
        codes[new] = n_known + np.arange(len(new))
        ids = IdMap(np.concatenate([np.asarray(ids.ids, dtype=object), keys.iloc[new].to_numpy(dtype=object)])) if len(new) else ids
        joined = codes >= 0
    rest = frame.drop(columns=column)
    table = rest[joined].set_axis(codes[joined], axis=0).reindex(range(len(ids)))
    table = typed(table.reset_index(drop=True))
    report = JoinReport(
        table=source.name,
        id_column=column,
        rows_read=len(frame) + n_rejected,
        rows_joined=n_joined,
        rows_matching_nothing=int(first.sum() - joined.sum()),
        rows_kept_as_new=len(ids) - n_known,
        rows_duplicated=int(present.sum() - first.sum()),
        rows_without_id=int((~present).sum()),
        rows_rejected=n_rejected,
        ids=n_known,
        ids_without_row=n_known - n_joined,
        columns=list(table.columns),
    )
    warnings += _warnings(report, keys[first], of_data, side)
    return table, report, warnings, ids


def read_table(source: Source) -> tuple[Source, pd.DataFrame, int]:
    """(source, all rows as text, rows the reader refused)."""
    frame = _fetch(source)
    if frame is None or (source.form == "text" and len(frame) > source.n_records):
        source = repaired(source)
        frame = _fetch(source)
    if frame is None:
        raise DataError(f"'{source.name}' cannot be read as a table.", "Save it again as CSV in UTF-8.")
    return source, frame, source.n_records - len(frame)


def _fetch(source: Source) -> pd.DataFrame | None:
    """All rows as text; None when a text file trips DuckDB and should be read line by line."""
    selected = ", ".join(f"{trimmed(c)} AS x{k}" for k, c in enumerate(source.internal))
    with connect() as con:
        try:
            table = con.sql(f"SELECT {selected} FROM {relation(source)}").to_arrow_table()
        except WorkbenchError:
            raise
        except Exception as error:
            if source.form == "parquet":
                raise unreadable(source.name, error) from None
            return None
    frame = table.to_pandas()
    return frame.astype("str").set_axis(list(source.columns), axis=1).where(frame.notna().to_numpy())


def _id_column(source: Source, frame: pd.DataFrame, ids: IdMap, side: str, wanted: str | None) -> str:
    """The column given, or the one whose values are the most often ids of the data; names settle ties."""
    if wanted:
        source.sql_of(wanted)
        return wanted

    def fit(column: str) -> tuple[float, float, int]:
        values = frame[column].dropna().drop_duplicates()
        found = int((ids.encode(values) >= 0).sum()) if len(values) else 0
        # Distinct values only: a column of ages also meets small numeric user ids, but covers few of them.
        return round(found / max(1, len(ids)), 2), name_score(column, side), -source.columns.index(column)

    return max(frame.columns, key=fit)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of plain numbers become numbers (codes with leading zeros stay text); the rest is text with nulls."""
    out: dict[str, Any] = {}
    for name in table.columns:
        text = table[name]
        filled = text.dropna()
        numbers = pd.to_numeric(filled, errors="coerce")
        finite = len(filled) > 0 and bool(np.isfinite(numbers.to_numpy(np.float64)).all())
        if finite and not filled.str.match(_LEADING_ZERO).any() and (numbers.abs() < 2**53).all():
            whole = bool((numbers % 1 == 0).all()) and not filled.str.contains(r"[.eE]", regex=True).any()
            out[name] = pd.to_numeric(text, errors="coerce").astype("Int64" if whole else "Float64")
        else:
            out[name] = text.astype("str")
    return pd.DataFrame(out, index=table.index)


def column_hints(table: pd.DataFrame) -> dict[str, Any]:
    """{"title", "categories", "separator"}: which columns name and classify the rows; None where there is none."""
    texts = [c for c in table.columns if not pd.api.types.is_numeric_dtype(table[c])]
    filled = {c: table[c].dropna().head(2000).astype("str") for c in texts}
    named = [c for c in texts if _TITLE.search(c) and len(filled[c]) and not re.search(r"url|link|image", c, re.I)]
    long = [c for c in texts if len(filled[c]) and filled[c].nunique() > 0.7 * len(filled[c]) and filled[c].str.len().mean() > 6]
    long = [c for c in long if not filled[c].str.contains("http|[|]", regex=True).any() and not _is_word_list(filled[c], 0.25)]
    title = next(iter([*named, *long]), None)
    others = [c for c in texts if c != title and len(filled[c])]
    separators = {c: list_separator(filled[c]) for c in others}
    classes = [c for c in others if _CATEGORIES.search(c)] or [c for c in others if separators[c] == "|"]
    classes = classes or [c for c in others if filled[c].nunique() <= max(2, len(filled[c]) // 5)]
    categories = classes[0] if classes else None
    return {"title": title, "categories": categories, "separator": separators.get(categories) if categories else None}


def list_separator(values: pd.Series) -> str | None:
    """What parts the categories of a cell: "|", ";", ",", a blank ("Action Comedy Drama"), or None ("Home audio")."""
    marks = (mark for mark in ("|", ";", ",") if values.str.contains(mark, regex=False).mean() > 0.1)
    return next(marks, None) or (" " if _is_word_list(values, 0.5) else None)


def _is_word_list(values: pd.Series, most_words: float) -> bool:
    """Whether cells are lists parted by blanks: few words (as a share of the distinct cells) return in ever new
    combinations of differing length, while the words of a phrase or a name stay together."""
    cells = values.drop_duplicates().str.split()
    lengths = cells.str.len()
    return len(cells) > 0 and cells.explode().nunique() <= most_words * len(cells) and lengths.value_counts(normalize=True).max() < 0.8


def _warnings(report: JoinReport, keys: pd.Series, ids: IdMap, side: str) -> list[str]:
    said = []
    if report.rows_joined == 0:
        near = _near_miss(keys, ids)
        said.append(
            f"No row of the {side} table '{report.table}' has an id that occurs in the interactions (by column '{report.id_column}').{near}"
        )
    elif report.ids_without_row > 0.1 * report.ids:
        said.append(f"{report.ids_without_row:,} of {report.ids:,} {side}s have no row in '{report.table}'.")
    if report.rows_kept_as_new:
        n = report.rows_kept_as_new
        deeds = "that nobody has chosen yet" if side == "item" else "without any interaction"
        said.append(f"{n:,} {side}{'s' * (n != 1)} {deeds} {'was' if n == 1 else 'were'} kept from '{report.table}', as asked for.")
    if report.rows_duplicated:
        said.append(f"{report.rows_duplicated:,} rows of '{report.table}' repeat an id; the first row of each was used.")
    if report.rows_rejected:
        said.append(f"{report.rows_rejected:,} rows of '{report.table}' have too few or too many columns and were not used.")
    return said


def _near_miss(keys: pd.Series, ids: IdMap) -> str:
    """A hint when the ids would meet without leading zeros, '.0' or letter case."""

    def bare(values: pd.Series) -> pd.Series:
        return values.astype("str").str.strip().str.lower().str.replace(r"\.0$", "", regex=True).str.lstrip("0")

    meet = len(set(bare(keys).tolist()) & set(bare(pd.Series(ids.ids)).tolist()))
    return (
        f" {meet:,} would match if leading zeros, a trailing '.0' or letter case were ignored: write them the same way in both files."
        if meet
        else ""
    )
