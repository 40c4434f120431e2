"""How numbers and times are written in a column, and the SQL that reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .sql import escape

TIME_LABELS = {
    "s": "seconds since 1970 (Unix time)",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "iso": "year-month-day dates (ISO 8601)",
    "dayfirst": "dates with the day first (31/12/2024)",
    "monthfirst": "dates with the month first (12/31/2024)",
}
# Seconds of 1800-01-01 and 2200-01-01: outside lies a wrong unit, not a date.
EARLIEST, LATEST = -5364662400, 7258118400
LARGEST = 3.4e38  # of a float32
_EPOCHS = (("s", 10**8, 10**10), ("ms", 10**11, 10**13), ("us", 10**14, 10**16))
_ISO = re.compile(r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}.*)?$")
_PARTED = re.compile(r"^(\d{1,2})([/.\- ])(\d{1,2})\2(\d{4}|\d{2})\b")
_NAMED = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.I)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S", ", %I:%M:%S %p", "T%H:%M:%S")
_NAMED_DATES = ("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%a %b %d %Y", "%a, %d %b %Y")


@dataclass(frozen=True)
class TimeGuess:
    """format: a TimeFormat other than auto; note: the assumption in words."""

    format: str
    note: str


def guess_time(column: pd.Series) -> TimeGuess | None:
    """The format most values of a text column fit, or None when it holds no times."""
    text = column.dropna().astype("str").str.strip()
    text = text[text != ""]
    if not len(text):
        return None
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().mean() > 0.8:
        return _guess_epoch(numbers.dropna())
    if text.str.match(_ISO).mean() > 0.5:
        return TimeGuess("iso", f"Times were read as {TIME_LABELS['iso']}; without a zone they count as UTC.")
    parts = text.str.extract(_PARTED)
    parted = parts[0].notna()
    if parted.mean() > 0.5:
        first, second = parts.loc[parted, 0].astype(int), parts.loc[parted, 2].astype(int)
        return _guess_order(int((first > 12).sum()), int((second > 12).sum()), str(parts.loc[parted, 1].iloc[0]))
    if text.str.contains(_NAMED).mean() > 0.5 and text.str.contains(r"\d{1,2}", regex=True).mean() > 0.9:
        return TimeGuess("dayfirst", "Times were read as dates with the month's name.")
    return None


def _guess_epoch(numbers: pd.Series) -> TimeGuess | None:
    middle = float(numbers.abs().median())
    for unit, low, high in _EPOCHS:
        if low <= middle < high:
            return TimeGuess(unit, f"Times were read as {TIME_LABELS[unit]}.")
    whole = (numbers % 1 == 0).all()
    if (
        whole
        and 19000101 <= middle <= 21001231
        and numbers.astype("int64").astype(str).str.match(r"^\d{4}(0[1-9]|1[0-2])([0-2]\d|3[01])$").mean() > 0.9
    ):
        return TimeGuess("iso", "Times were read as dates written YYYYMMDD.")
    return None


def _guess_order(days_first: int, days_second: int, separator: str) -> TimeGuess:
    if days_first > days_second:
        return TimeGuess("dayfirst", f"Times were read as {TIME_LABELS['dayfirst']}: some first numbers are above 12.")
    if days_second > days_first:
        return TimeGuess("monthfirst", f"Times were read as {TIME_LABELS['monthfirst']}: some second numbers are above 12.")
    chosen = "monthfirst" if separator == "/" else "dayfirst"
    return TimeGuess(chosen, f"Times were read as {TIME_LABELS[chosen]}, but day and month could be the other way round: please check.")


def _formats(order: str) -> list[str]:
    days = []
    for sep in "/.- ":
        first, second = ("%d", "%m") if order == "dayfirst" else ("%m", "%d")
        days += [f"{first}{sep}{second}{sep}%Y", f"{first}{sep}{second}{sep}%y"]
    return [day + clock for clock in _CLOCKS for day in (*days, *_NAMED_DATES)] + [
        "%a %b %d %H:%M:%S %Y",
        "%a %b %d %H:%M:%S %z %Y",
        "%a, %d %b %Y %H:%M:%S %Z",
    ]


def time_sql(text: str, time_format: str, sample: pd.Series | None = None) -> str:
    """SQL giving BIGINT UTC seconds of a text, NULL where it cannot be read; the caller refuses what lies beyond EARLIEST, LATEST."""
    if time_format in ("s", "ms", "us"):
        per_second = {"s": 1, "ms": 1000, "us": 1_000_000}[time_format]
        seconds = f"TRY_CAST({text} AS BIGINT)"
        if per_second > 1:
            seconds = f"CAST(floor({seconds} / {per_second}) AS BIGINT)"
    elif time_format == "iso":
        stamp = f"TRY_CAST({text} AS TIMESTAMPTZ)"
        compact = _strptime(text, ["%Y%m%d", "%Y%m%d%H%M%S", "%Y%m%dT%H%M%S", "%Y-%m-%d %H:%M:%S %z UTC"])
        seconds = f"CAST(floor(epoch(CASE WHEN isfinite({stamp}) THEN {stamp} ELSE CAST({compact} AS TIMESTAMPTZ) END)) AS BIGINT)"
    else:
        formats = _formats(time_format)
        used = _used_formats(formats, sample)
        reads = [_strptime(text, group) for group in (used, formats) if group]
        iso = f"TRY_CAST(CASE WHEN regexp_matches({text}, '^[0-9]{{4}}-') THEN {text} END AS TIMESTAMP)"
        seconds = f"CAST(floor(epoch(coalesce({', '.join(reads)}, {iso}))) AS BIGINT)"
    return seconds


def _strptime(text: str, formats: list[str]) -> str:
    """The first of the formats that fits. Those with a time zone stand apart: one of them in the list makes DuckDB read
    with all of them as calendars do, and 31 February becomes 3 March."""
    plain = [f for f in formats if "%z" not in f.lower()]
    zoned = [f for f in formats if "%z" in f.lower()]
    reads = [f"try_strptime({text}, [{', '.join(escape(f) for f in group)}])" for group in (plain, zoned) if group]
    return reads[0] if len(reads) == 1 else f"coalesce({', '.join(reads)})"


def _used_formats(formats: list[str], sample: pd.Series | None) -> list[str]:
    """The formats that occur, most frequent first: trying them before the long list saves most of the time."""
    from .sql import connect

    texts = [] if sample is None else [t for t in sample.dropna().astype("str").str.strip().unique()[:200].tolist() if t]
    if not texts:
        return []
    counts: list[tuple[int, str]] = []
    with connect(threads=1) as con:
        for form in formats:
            read = con.execute("SELECT count(try_strptime(t, ?)) FROM (SELECT unnest(?) AS t)", [form, texts]).fetchone()
            if read and read[0]:
                counts.append((read[0], form))
    return [form for _, form in sorted(counts, reverse=True)][:4]


@dataclass(frozen=True)
class NumberStyle:
    """decimal: '.' or ','; thousands: the sign between groups of three, '' when there is none."""

    decimal: str = "."
    thousands: str = ""

    @property
    def note(self) -> str:
        if self.decimal == ",":
            return "Commas in the value column were read as decimal marks."
        return f"'{self.thousands}' in the value column was read as a thousands separator." if self.thousands else ""


def guess_numbers(column: pd.Series) -> NumberStyle | None:
    """How the numbers of a text column are written, or None when most values are not numbers."""
    text = column.dropna().astype("str").str.strip()
    text = text[text != ""]
    if not len(text):
        return None
    styles = (
        NumberStyle(),
        NumberStyle(",", ""),
        NumberStyle(".", ","),
        NumberStyle(",", "."),
        NumberStyle(".", " "),
        NumberStyle(".", "'"),
    )
    shares = [float(text.str.match(_pattern(style)).mean()) for style in styles]
    # "1,234" fits two styles: groups of three everywhere mean thousands, anything else a decimal comma.
    if shares[2] > shares[0] and shares[2] >= shares[1] and text.str.contains(",").any():
        return styles[2] if shares[2] > 0.5 else None
    best = max(range(len(styles)), key=lambda k: (shares[k], -k))
    return styles[best] if shares[best] > 0.5 else None


def _pattern(style: NumberStyle) -> re.Pattern[str]:
    dot = re.escape(style.decimal)
    body = (
        rf"\d{{1,3}}(?:{re.escape(style.thousands)}\d{{3}})*(?:{dot}\d+)?"
        if style.thousands
        else rf"(?:\d+(?:{dot}\d*)?|{dot}\d+)(?:[eE][-+]?\d+)?"
    )
    return re.compile(rf"^[-+]?{body}$")


def number_sql(text: str, style: NumberStyle) -> str:
    """SQL giving a DOUBLE of a text expression, NULL where it is no number; the caller refuses NaN and |x| > LARGEST."""
    expression = text
    if style.thousands:
        expression = f"replace({expression}, {escape(style.thousands)}, '')"
    if style.decimal == ",":
        expression = f"replace({expression}, ',', '.')"
    return f"TRY_CAST({expression} AS DOUBLE)"


def samples(column: pd.Series, n: int = 5) -> list[str]:
    """The first n different values, as shown to the user; very long ones cut."""
    found: list[Any] = column.dropna().drop_duplicates().head(n).tolist()
    return [text if len(text) <= 80 else text[:79] + "…" for text in map(str, found)]
