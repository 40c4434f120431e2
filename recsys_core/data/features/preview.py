"""What becomes of one column, as plain numbers for a chart: the values and how many rows have them, before and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .columns import cells, days, numbers
from .fields import KINDS
from .guessing import LARGEST_SAMPLE, Guess, settings_to_read
from .vectors import read_vectors

SHOWN = 15  # values of a category
BINS = 30
SAMPLES = 5


@dataclass(frozen=True)
class Histogram:
    """edges (n + 1) and counts (n); of dates the edges are days since 1970."""

    edges: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, bins: int = BINS) -> Histogram | None:
        """None where there is no value, or only one."""
        values = values[np.isfinite(values)]
        if not len(values) or values.min() == values.max():
            return None
        counts, edges = np.histogram(values, bins=min(bins, len(np.unique(values))))
        return cls(edges, counts)


@dataclass(frozen=True)
class Preview:
    """n_rows: rows looked at (at most LARGEST_SAMPLE, by chance), n_empty: those in which the column says nothing.

    values: the most frequent (value, rows) and n_values, how many have a feature of their own; n_other: rows with a value too rare for
    one. before, after: numbers as they are and as models read them; log: whether that is on a log scale. dates: the days.
    samples: cells of a text, the longest among the first; n_words: words of a middling cell. size: length of its vectors.
    """

    kind: str | None
    n_rows: int
    n_empty: int
    values: list[tuple[str, int]] = field(default_factory=list)
    n_values: int = 0
    n_other: int = 0
    before: Histogram | None = None
    after: Histogram | None = None
    log: bool = False
    dates: Histogram | None = None
    samples: list[str] = field(default_factory=list)
    n_words: int = 0
    size: int = 0


def preview(name: str, column: pd.Series | pd.DataFrame, what: Guess) -> Preview:
    """column: a frame where several columns are one vector. No text encoder is asked: vectors of texts are made in training."""
    if len(column) > LARGEST_SAMPLE:
        column = column.sample(LARGEST_SAMPLE, random_state=0).reset_index(drop=True)
    n, settings = len(column), settings_to_read(what, column)
    if what.kind == "vector" or isinstance(column, pd.DataFrame):
        together = isinstance(column, pd.DataFrame)
        values = np.column_stack([numbers(column[one]) for one in column]) if together else read_vectors(column)[0]
        return Preview(what.kind, n, int((~np.isfinite(values)).all(1).sum()), size=values.shape[1])
    if what.kind in ("categorical", "multi_valued"):
        return Preview(what.kind, n, **_categories(name, column, what.kind, settings))
    if what.kind == "numeric":
        return Preview("numeric", n, **_numbers(name, column, settings))
    if what.kind == "date":
        when = days(column, settings.get("day_first", False), settings.get("unit"))
        return Preview("date", n, int(np.isnan(when).sum()), dates=Histogram.of(when))
    text = cells(column)
    present = text.dropna().astype("str")
    words = present.head(2_000).str.split().str.len()
    samples = sorted(present.drop_duplicates().head(50), key=len, reverse=True)[:SAMPLES]
    return Preview(what.kind, n, n - len(present), samples=samples, n_words=int(words.median()) if len(words) else 0)


def _categories(name: str, column: pd.Series, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Rows of each value, counted on the matrix that models read."""
    fitted = KINDS[kind].fit(name, column, **settings)
    rows = np.asarray((fitted.encode(column) != 0).sum(0)).ravel()
    known = rows[: len(fitted.values)]
    order = np.argsort(-known, kind="stable")[:SHOWN]
    values = [(fitted.values[n], int(known[n])) for n in order]
    return {"values": values, "n_values": len(fitted.values), "n_other": int(rows[-2]), "n_empty": int(rows[-1])}


def _numbers(name: str, column: pd.Series, settings: dict[str, Any]) -> dict[str, Any]:
    """The numbers, and what the matrix that models read has of them."""
    found = numbers(column, settings.get("decimal", "."))
    present = np.isfinite(found)
    fitted = KINDS["numeric"].fit(name, column, **settings)
    read = fitted.encode(column)[:, 0].toarray().ravel()[present]
    log = bool(fitted.scale.get("log_unit"))
    return {"n_empty": int((~present).sum()), "before": Histogram.of(found), "after": Histogram.of(read), "log": log}
