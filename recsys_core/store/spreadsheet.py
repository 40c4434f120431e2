"""CSV that a spreadsheet can open without running anything in it."""

from __future__ import annotations

import pandas as pd

# What Excel, LibreOffice and Sheets may take for the start of a formula; the last four are the full-width forms.
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_text(values: pd.Series) -> pd.Series:
    """Text in which no cell can become a formula: one that might gets an apostrophe before it. Numbers,
    dates and missing cells stay as they are."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return values
    text = values.astype("str").where(values.notna(), None)
    risky = text.str.startswith(STARTS, na=False)
    return text.where(~risky, "'" + text)


def safe_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """`safe_text` of every column and of the header."""
    out = frame.apply(safe_text, axis=0) if len(frame.columns) else frame.copy()
    out.columns = list(safe_text(pd.Series(frame.columns, dtype="str")))
    return out
