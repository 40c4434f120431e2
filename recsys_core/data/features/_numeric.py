"""Fields that are quantities: numbers and dates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import QUIET, RunContext
from ._field import NOTHING, Field, beside
from .columns import days, numbers

CLIP = 0.01  # share of the rows at either end whose numbers are pulled in
STRONG_SKEW = 2.0
QUANTILES = 100  # steps of the quantile scale
RESOLVED = 0.05  # share of the dates off the first of January (of the month) from which months (days) are taken as told


@dataclass(frozen=True)
class Scale:
    """Numbers brought to mean 0 and deviation 1, ends pulled in, on a log scale when log_unit > 0, by rank when there are points."""

    low: float
    high: float
    mean: float
    deviation: float
    log_unit: float = 0.0
    points: tuple[float, ...] | list[float] = ()  # the numbers at equal steps of rank, ascending

    @classmethod
    def fit(cls, values: np.ndarray, how: str = "auto") -> Self:
        """values: float (n,), finite. how: "auto" (log where they are strongly skewed), "standard", "log" or "quantile"."""
        low, high = (float(x) for x in np.quantile(values, [CLIP, 1 - CLIP]))
        clipped = np.clip(values, low, high)
        deviation = clipped.std()
        skew = ((clipped - clipped.mean()) ** 3).mean() / deviation**3 if deviation > 0 else 0.0
        skewed = how == "auto" and abs(skew) > STRONG_SKEW
        unit = float(np.quantile(np.abs(values[values != 0]), 0.1)) if (skewed or how == "log") and (values != 0).any() else 0.0
        points = [float(x) for x in np.quantile(values, np.linspace(0, 1, QUANTILES + 1))] if how == "quantile" else []
        levelled = cls(low, high, 0.0, 1.0, unit, points)(values)
        return cls(low, high, float(levelled.mean()), float(levelled.std()) or 1.0, unit, points)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if len(self.points):
            levelled = _ranks(values, np.asarray(self.points))
        else:
            levelled = _level(np.clip(values, self.low, self.high), self.log_unit)
        return (levelled - self.mean) / self.deviation


def _level(values: np.ndarray, unit: float) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values) / unit) if unit > 0 else values


def _ranks(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """In 0 … 1: the middle of the ranks that a number has; NaN stays."""
    steps, first, times = np.unique(points, return_index=True, return_counts=True)
    return np.interp(values, steps, (first + (times - 1) / 2) / max(1, len(points) - 1))


def learn_scale(values: np.ndarray, how: str = "auto") -> dict[str, float]:
    """A `Scale` of the numbers that are there, as plain values."""
    present = values[~np.isnan(values)]
    return asdict(Scale.fit(present if len(present) else np.zeros(1), how))


@dataclass(frozen=True)
class Numeric(Field):
    """A number, standardised (see `Scale`), and whether there is none."""

    kind: ClassVar[str] = "numeric"
    label: ClassVar[str] = "Number"
    summary: ClassVar[str] = "Brought to a common scale; ends pulled in, on a log scale where it is skewed."
    scale: dict[str, float]
    decimal: str = "."

    @classmethod
    def fit(cls, name: str, column: pd.Series, ctx: RunContext = QUIET, decimal: str = ".", scale: str = "auto") -> Self:
        return cls(name, learn_scale(numbers(column, decimal), scale), decimal)

    @cached_property
    def names(self) -> list[str]:
        return [self.name, f"{self.name}={NOTHING}"]

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        return beside([Scale(**self.scale)(numbers(column, self.decimal))])


@dataclass(frozen=True)
class Date(Field):
    """A date: its year and the logarithm of its age in days before the newest one seen, both standardised; where the dates tell
    them, the month and the day of the week as a point on a circle (sine, cosine), so that December is next to January."""

    kind: ClassVar[str] = "date"
    label: ClassVar[str] = "Date"
    summary: ClassVar[str] = "The year, the age before the newest date, and the time of year and week where the dates tell it."
    newest: float
    year: dict[str, float]
    age: dict[str, float]
    day_first: bool = False
    unit: str | None = None
    parts: tuple[str, ...] | list[str] = ()  # of "month", "weekday"

    @classmethod
    def fit(
        cls,
        name: str,
        column: pd.Series,
        ctx: RunContext = QUIET,
        day_first: bool = False,
        unit: str | None = None,
        cycles: str = "auto",
    ) -> Self:
        when = days(column, day_first, unit)
        newest = float(np.nanmax(when, initial=-1e9)) if np.isfinite(when).any() else 0.0
        parts = _told(when) if cycles == "auto" else []
        return cls(name, newest, learn_scale(_year(when)), learn_scale(_age(when, newest)), day_first, unit, parts)

    @cached_property
    def names(self) -> list[str]:
        circles = [f"{self.name}.{part} ({wave})" for part in self.parts for wave in ("sine", "cosine")]
        return [f"{self.name}.year", f"{self.name}.age", *circles, f"{self.name}={NOTHING}"]

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        when = days(column, self.day_first, self.unit)
        angles = [2 * np.pi * _CYCLES[part](when) for part in self.parts]
        circles = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
        return beside([Scale(**self.year)(_year(when)), Scale(**self.age)(_age(when, self.newest)), *circles])


def _year(when: np.ndarray) -> np.ndarray:
    return 1970 + when / 365.2425


def _age(when: np.ndarray, newest: float) -> np.ndarray:
    return np.log1p(np.maximum(0.0, newest - when))


def _calendar(when: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(month 0 … 11, day of the month 0 … 30), both NaN where there is no date."""
    known = np.isfinite(when)
    day = np.floor(np.where(known, when, 0)).astype(np.int64).astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    return np.where(known, month.astype(np.int64) % 12, np.nan), np.where(
        known, (day - month.astype("datetime64[D]")).astype(np.int64), np.nan
    )


def _month(when: np.ndarray) -> np.ndarray:
    """Share of the year passed when the month began."""
    return _calendar(when)[0] / 12


def _weekday(when: np.ndarray) -> np.ndarray:
    """Share of the week passed: 0 on Monday."""
    return (np.floor(when) + 3) % 7 / 7  # 1970 began on a Thursday


_CYCLES = {"month": _month, "weekday": _weekday}


def _told(when: np.ndarray) -> list[str]:
    """The parts the dates tell: years alone are all the first of January, months all the first of a month."""
    month, day = _calendar(when[np.isfinite(when)])
    if not len(month):
        return []
    by_day = (day != 0).mean() >= RESOLVED
    by_month = (month != 0).mean() >= RESOLVED
    return ["month"] * bool(by_month) + ["weekday"] * bool(by_day)
