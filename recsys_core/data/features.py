"""User and item tables as sparse features: encoded once, for all models that read them.

`encode_table(table)` gives the features of a table; `FeatureEncoder` is what was learnt on the way and
encodes further rows (new items, new users) in the same columns. Kinds of fields are classes in `KINDS`;
what a column is, is guessed by `guess_schema` and may be changed before fitting.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ..errors import DataError
from ._feature_columns import cells, columns_of, days, numbers, values_of
from ._feature_guess import Guess, guess, rare_below

OTHER, NOTHING = "(other)", "(missing)"
MOST_VALUES = 5_000  # of one field; rarer ones count as other
CLIP = 0.01  # share of the rows at either end whose numbers are pulled in
STRONG_SKEW = 2.0


@dataclass(frozen=True)
class Categorical:
    """One value a row. Features: a column for each value, one for all others, one for nothing."""

    kind: ClassVar[str] = "categorical"
    name: str
    values: list[str]

    @classmethod
    def fit(cls, name: str, column: pd.Series, separator: str | None = None) -> Self:
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

    def encode(self, column: pd.Series) -> sparse.csr_matrix:
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
class Numeric:
    """A number, standardised (see `Scale`), and whether there is none."""

    kind: ClassVar[str] = "numeric"
    name: str
    scale: dict[str, float]
    decimal: str = "."

    @classmethod
    def fit(cls, name: str, column: pd.Series, decimal: str = ".") -> Self:
        return cls(name, _scale(numbers(column, decimal)), decimal)

    @cached_property
    def names(self) -> list[str]:
        return [self.name, f"{self.name}={NOTHING}"]

    def encode(self, column: pd.Series) -> sparse.csr_matrix:
        return _dense([Scale(**self.scale)(numbers(column, self.decimal))])


@dataclass(frozen=True)
class Date:
    """A date: its year, and the logarithm of its age in days before the newest one seen; both standardised."""

    kind: ClassVar[str] = "date"
    name: str
    newest: float
    year: dict[str, float]
    age: dict[str, float]
    day_first: bool = False
    unit: str | None = None

    @classmethod
    def fit(cls, name: str, column: pd.Series, day_first: bool = False, unit: str | None = None) -> Self:
        when = days(column, day_first, unit)
        newest = float(np.nanmax(when, initial=-1e9)) if np.isfinite(when).any() else 0.0
        return cls(name, newest, _scale(_year(when)), _scale(_age(when, newest)), day_first, unit)

    @cached_property
    def names(self) -> list[str]:
        return [f"{self.name}.year", f"{self.name}.age", f"{self.name}={NOTHING}"]

    def encode(self, column: pd.Series) -> sparse.csr_matrix:
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


@dataclass(frozen=True)
class FeatureTable:
    """Row i of `matrix` (csr float32, rows × features) describes code i.

    names: what each feature is ("genres=Comedy", "year"). field: int64 (n_features,), the field each belongs
    to. fields: (name, kind) of each field. left_out: column -> why it gives no features.
    """

    matrix: sparse.csr_matrix
    names: list[str]
    field: np.ndarray
    fields: list[tuple[str, str]]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        return len(self.names)


class FeatureEncoder:
    """What was learnt from a table: its fields. Encodes any table with (some of) these columns."""

    def __init__(self, encoders: list[Any], left_out: dict[str, str] | None = None) -> None:
        self.encoders, self.left_out = encoders, dict(left_out or {})

    @classmethod
    def fit(cls, table: pd.DataFrame | None, schema: dict[str, Guess] | None = None) -> Self:
        """schema: what each column is (guessed when None); columns it does not name are left out."""
        columns = columns_of(table) if table is not None else {}
        schema = guess_schema(table) if schema is None else schema
        encoders, left_out = [], {}
        for name, column in columns.items():
            what = schema.get(name, Guess(None, "It was not chosen."))
            if what.kind is None:
                left_out[name] = what.reason
            elif what.kind in KINDS:
                encoders.append(KINDS[what.kind].fit(name, column, **(what.settings or {})))
            else:
                raise DataError(f"The column '{name}' cannot be of kind '{what.kind}'.", f"Kinds are {', '.join(KINDS)}.")
        return cls(encoders, left_out)

    @property
    def names(self) -> list[str]:
        return [name for one in self.encoders for name in one.names]

    @property
    def field(self) -> np.ndarray:
        """int64 (n_features,): the field of each feature."""
        return np.repeat(np.arange(len(self.encoders)), [len(one.names) for one in self.encoders]).astype(np.int64)

    @property
    def fields(self) -> list[tuple[str, str]]:
        return [(one.name, one.kind) for one in self.encoders]

    def encode(self, table: pd.DataFrame) -> sparse.csr_matrix:
        """csr float32 (rows, n_features). A value never seen is "other"; a column that is not there is missing in every row."""
        columns = columns_of(table)
        nothing = pd.Series([None] * len(table), dtype=object)
        parts = [one.encode(columns.get(one.name, nothing)) for one in self.encoders]
        out = sparse.hstack(parts, format="csr", dtype=np.float32) if parts else sparse.csr_matrix((len(table), 0), dtype=np.float32)
        out.eliminate_zeros()
        out.sort_indices()
        return out

    def table(self, table: pd.DataFrame) -> FeatureTable:
        """The encoded rows with what the columns mean."""
        return FeatureTable(self.encode(table), self.names, self.field, self.fields, self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is the inverse."""
        return {"fields": [{"kind": one.kind, **asdict(one)} for one in self.encoders], "left_out": self.left_out}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Self:
        encoders = [KINDS[one["kind"]](**{k: v for k, v in one.items() if k != "kind"}) for one in saved["fields"]]
        return cls(encoders, saved["left_out"])


def guess_schema(table: pd.DataFrame | None) -> dict[str, Guess]:
    """column -> what it is. Change entries and give them to `FeatureEncoder.fit`."""
    return {name: guess(name, column) for name, column in columns_of(table).items()} if table is not None else {}


def encode_table(table: pd.DataFrame, schema: dict[str, Guess] | None = None) -> FeatureTable:
    """Fit and encode in one go."""
    return FeatureEncoder.fit(table, schema).table(table)
