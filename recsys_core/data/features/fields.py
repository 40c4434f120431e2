"""What a column can be: kinds of fields, each a class that learns from a column and then encodes any column like it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import QUIET, RunContext
from .columns import cells, days, numbers, values_of
from .guessing import rare_below

OTHER, NOTHING = "(other)", "(missing)"
MOST_VALUES = 5_000  # of one field; rarer ones count as other
CLIP = 0.01  # share of the rows at either end whose numbers are pulled in
STRONG_SKEW = 2.0


@dataclass(frozen=True)
class Field:
    """One column, learnt. `names`: its features. `encode(column, ctx)`: csr float32 (n, len(names)), nothing there is a value of its own.

    A kind is a frozen dataclass whose values are JSON-able; what is larger it gives as `arrays` and takes back in `restore`.
    """

    kind: ClassVar[str]
    label: ClassVar[str]  # "Categories", for people
    summary: ClassVar[str]  # one sentence: what becomes of the column
    name: str

    @property
    def names(self) -> list[str]:
        raise NotImplementedError

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """Its values, JSON-able."""
        return asdict(self)

    def arrays(self) -> dict[str, np.ndarray]:
        """What it learnt that is too large for JSON."""
        return {}

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """The inverse of `plain` and `arrays`."""
        return cls(**plain)


@dataclass(frozen=True)
class Categorical(Field):
    """One value a row. Features: a column for each value, one for all others, one for nothing."""

    kind: ClassVar[str] = "categorical"
    label: ClassVar[str] = "Categories"
    summary: ClassVar[str] = "One feature for each value that returns; rare ones share one."
    values: list[str]

    @classmethod
    def fit(cls, name: str, column: pd.Series, ctx: RunContext = QUIET, separator: str | None = None) -> Self:
        text = cells(column)
        code, distinct = pd.factorize(text)
        rows = np.bincount(code[code >= 0], minlength=len(distinct))
        lists = [[cell] if separator is None else values_of(cell, separator) for cell in distinct]
        lengths = np.array([len(one) for one in lists], dtype=np.int64)
        used = pd.Series(np.repeat(rows, lengths)).groupby(pd.Series([value for one in lists for value in one], dtype=object)).sum()
        used = used[used >= rare_below(len(column))].sort_index().sort_values(ascending=False, kind="stable")
        more = {} if separator is None else {"separator": separator}
        return cls(name, [str(value) for value in used.index[:MOST_VALUES]], **more)

    @cached_property
    def names(self) -> list[str]:
        return [f"{self.name}={value}" for value in [*self.values, OTHER, NOTHING]]

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        """csr (n, values + 2): rows of unit length."""
        code, distinct = pd.factorize(cells(column))
        lists = [self._parts(cell) for cell in distinct]
        lengths = [len(one) for one in lists]
        flat = pd.Index([value for one in lists for value in one], dtype=object)
        found = pd.Index(self.values, dtype=object).get_indexer(flat)
        found = np.where(found < 0, len(self.values), found)
        found = np.append(found, len(self.values) + 1)  # the last line is that of nothing
        lengths = np.array([*lengths, 1], dtype=np.int64)
        empty = lengths == 0
        found = np.insert(found, np.cumsum(lengths)[empty], len(self.values) + 1)
        indptr = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
        table = sparse.csr_matrix((np.ones(len(found), np.float32), found, indptr), shape=(len(lengths), len(self.names)))
        table.sum_duplicates()
        table.data[:] = 1
        table.data /= np.sqrt(np.repeat(np.diff(table.indptr), np.diff(table.indptr))).astype(np.float32)
        return table[code]  # code -1 takes the last line

    def _parts(self, cell: str) -> list[str]:
        return [cell]


@dataclass(frozen=True)
class MultiValued(Categorical):
    """Several values a row ("Action|Comedy", lists), each weighing 1/sqrt(how many)."""

    kind: ClassVar[str] = "multi_valued"
    label: ClassVar[str] = "Several values a cell"
    summary: ClassVar[str] = "Each cell holds a list, like Action|Comedy; one feature for each value that returns."
    separator: str = "|"

    def _parts(self, cell: str) -> list[str]:
        return values_of(cell, self.separator)


@dataclass(frozen=True)
class Scale:
    """Numbers brought to mean 0 and deviation 1, ends pulled in, on a log scale when log_unit > 0."""

    low: float
    high: float
    mean: float
    deviation: float
    log_unit: float = 0.0

    @classmethod
    def fit(cls, values: np.ndarray) -> Self:
        low, high = (float(x) for x in np.quantile(values, [CLIP, 1 - CLIP]))
        clipped = np.clip(values, low, high)
        spread = clipped - clipped.mean()
        deviation = float(np.sqrt(np.mean(spread**2)))
        skew = float(np.mean(spread**3)) / deviation**3 if deviation > 0 else 0.0
        unit = float(np.quantile(np.abs(values[values != 0]), 0.1)) if abs(skew) > STRONG_SKEW else 0.0
        levelled = _level(clipped, unit)
        return cls(low, high, float(levelled.mean()), float(levelled.std()) or 1.0, unit)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return (_level(np.clip(values, self.low, self.high), self.log_unit) - self.mean) / self.deviation


def _level(values: np.ndarray, unit: float) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values) / unit) if unit > 0 else values


@dataclass(frozen=True)
class Numeric(Field):
    """A number, standardised (see `Scale`), and whether there is none."""

    kind: ClassVar[str] = "numeric"
    label: ClassVar[str] = "Number"
    summary: ClassVar[str] = "Brought to a common scale; ends pulled in, on a log scale where it is skewed."
    scale: dict[str, float]
    decimal: str = "."

    @classmethod
    def fit(cls, name: str, column: pd.Series, ctx: RunContext = QUIET, decimal: str = ".") -> Self:
        return cls(name, _scale(numbers(column, decimal)), decimal)

    @cached_property
    def names(self) -> list[str]:
        return [self.name, f"{self.name}={NOTHING}"]

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        return _dense([Scale(**self.scale)(numbers(column, self.decimal))])


@dataclass(frozen=True)
class Date(Field):
    """A date: its year, and the logarithm of its age in days before the newest one seen; both standardised."""

    kind: ClassVar[str] = "date"
    label: ClassVar[str] = "Date"
    summary: ClassVar[str] = "The year and the age before the newest date."
    newest: float
    year: dict[str, float]
    age: dict[str, float]
    day_first: bool = False
    unit: str | None = None

    @classmethod
    def fit(cls, name: str, column: pd.Series, ctx: RunContext = QUIET, day_first: bool = False, unit: str | None = None) -> Self:
        when = days(column, day_first, unit)
        newest = float(np.nanmax(when, initial=-1e9)) if np.isfinite(when).any() else 0.0
        return cls(name, newest, _scale(_year(when)), _scale(_age(when, newest)), day_first, unit)

    @cached_property
    def names(self) -> list[str]:
        return [f"{self.name}.year", f"{self.name}.age", f"{self.name}={NOTHING}"]

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        when = days(column, self.day_first, self.unit)
        return _dense([Scale(**self.year)(_year(when)), Scale(**self.age)(_age(when, self.newest))])


def _scale(values: np.ndarray) -> dict[str, float]:
    present = values[~np.isnan(values)]
    return asdict(Scale.fit(present if len(present) else np.zeros(1)))


def _year(when: np.ndarray) -> np.ndarray:
    return 1970 + when / 365.2425


def _age(when: np.ndarray, newest: float) -> np.ndarray:
    return np.log1p(np.maximum(0.0, newest - when))


def _dense(columns: list[np.ndarray]) -> sparse.csr_matrix:
    """Numbers beside each other, 0 where there is none, and a last column that says so."""
    missing = np.isnan(columns[0])
    filled = [np.where(missing, 0.0, values) for values in columns]
    return sparse.csr_matrix(np.column_stack([*filled, missing]).astype(np.float32))


KINDS: dict[str, type] = {one.kind: one for one in (Categorical, MultiValued, Numeric, Date)}
