"""The file of rejected rows: line, column, value, reason, safe to open in a spreadsheet."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd

COLUMNS = ("file", "line", "column", "value", "reason")
_FORMULA = r"^[=+\-@\t\r\n]"
_NUMBER = r"^[-+]?\d+(?:[.,]\d+)*$"


def safe_cells(column: pd.Series) -> pd.Series:
    """Text no spreadsheet takes for a formula: a leading = + - @ gets an apostrophe, plain numbers stay."""
    text = column.astype("str")
    risky = text.str.match(_FORMULA) & ~text.str.match(_NUMBER)
    return text.where(~risky.fillna(False), "'" + text)


def write_rejects(rejects: pd.DataFrame, path: Path) -> Path:
    """rejects: the columns of COLUMNS. Gzip-packed CSV, UTF-8 with a byte-order mark for spreadsheets."""
    safe = rejects[list(COLUMNS)].copy()
    for name in ("file", "column", "value", "reason"):
        safe[name] = safe_cells(safe[name].fillna(""))
    with gzip.open(path, "wt", encoding="utf-8-sig", newline="", compresslevel=3) as file:
        safe.to_csv(file, index=False)
    return path
