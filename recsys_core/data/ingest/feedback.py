"""Ratings, counts or mere signs of interest? Judged from the name and the spread of the value column."""

from __future__ import annotations

import pandas as pd

from .values import guess_numbers
from .vocabulary import COUNT_NAMES, PRICE_NAMES, RATING_NAMES

MANY, STRAY = 100, 0.005  # of so many values, the largest half per cent may be typing errors


def guess_feedback(column: str | None, frame: pd.DataFrame, has_events: bool) -> tuple[str, str, str, float | None]:
    """(feedback, why, what the value is, threshold)."""
    if column is None:
        return (
            "implicit",
            "There is no value column: every row counts as interest." if not has_events else "Events are weighted by their type.",
            "none",
            None,
        )
    style = guess_numbers(frame[column])
    text = frame[column].dropna()
    if style and (style.decimal == "," or style.thousands):
        text = text.str.replace(style.thousands, "", regex=False) if style.thousands else text
        text = text.str.replace(",", ".", regex=False) if style.decimal == "," else text
    numbers = sane(pd.to_numeric(text, errors="coerce"))
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0)
    top = high
    if len(numbers) >= MANY and RATING_NAMES.search(column):
        # One 55 among stars of 1 to 5 is a typing error, and must not make 39 the bar of what is liked.
        bulk = float(numbers.quantile(1 - STRAY, interpolation="lower"))
        high = bulk if max(low, 0) < bulk <= high / 2 else high
    distinct = int(numbers.nunique())
    if PRICE_NAMES.search(column) and not RATING_NAMES.search(column):
        return "implicit", f"'{column}' reads like a price, which says nothing about liking: every row counts as interest.", "price", None
    rated = bool(RATING_NAMES.search(column)) and (high <= 100 or (distinct <= 21 and high <= 1000))
    halves = len(numbers) > 0 and bool(((numbers * 2) % 1 == 0).all())
    graded = distinct > 1 and halves and distinct <= 21 and high <= 10 and low >= -10 and not COUNT_NAMES.search(column)
    if (rated or graded) and distinct > 1 and not has_events:
        stray = f" A few are above that, up to {top:g}: are they typing errors?" if top > high else ""
        return "explicit", f"'{column}' holds ratings from {low:g} to {high:g}.{stray}", "rating", _threshold(low, high)
    if (rated and distinct <= 1) or (low < 0 and not COUNT_NAMES.search(column)):
        return "implicit", f"'{column}' does not tell ratings apart: every row counts as interest.", "none", None
    return "implicit", f"'{column}' counts something: larger means stronger interest.", "count", None


def sane(numbers: pd.Series) -> pd.Series:
    """Without NaN, infinity and wild outliers (typing errors), which must not set the scale."""
    finite = numbers[numbers.abs() <= 1e30]
    return finite[finite.abs() <= 1e6 * max(1.0, float(finite.abs().median()))] if len(finite) else finite


def _threshold(low: float, high: float) -> float:
    """The usual cut: 4 of 5, 7 of 10, else three quarters up the scale."""
    if high <= 5 and low >= 0 and high > 1:
        return 4.0 if high > 3.5 else round(0.75 * high * 2) / 2
    if 5 < high <= 10 and low >= 0:
        return 7.0
    return round((low + 0.7 * (high - low)) * 2) / 2
