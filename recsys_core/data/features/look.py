"""A column looked at once, for checks and reports: its different values, which row has which, and how often each occurs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from .columns import different, numbers
from .vectors import read_vectors


@dataclass(frozen=True, eq=False)
class Look:
    """code: int64 (n,), the value of each row in the order of first appearance, -1 for none. values: as text. column: as it came."""

    column: pd.Series
    code: np.ndarray
    values: np.ndarray

    @classmethod
    def at(cls, column: pd.Series) -> Look:
        return cls(column.reset_index(drop=True), *different(column))

    def __len__(self) -> int:
        return len(self.code)

    @cached_property
    def counts(self) -> np.ndarray:
        """int64 (values,): rows of each."""
        return np.bincount(self.code[self.code >= 0], minlength=len(self.values))

    @property
    def n_present(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def text(self) -> pd.Series:
        return pd.Series(self.values, dtype=object).astype("str")

    def frequent(self, n: int) -> list[tuple[str, int]]:
        """The n most frequent values and their rows."""
        order = np.argsort(-self.counts, kind="stable")[:n]
        return [(str(self.values[k]), int(self.counts[k])) for k in order]

    def numbers(self, decimal: str = ".") -> np.ndarray:
        """float64 (values,): NaN where a value is no number; kept."""
        kept = self.__dict__.setdefault("_numbers", {})
        if decimal not in kept:
            kept[decimal] = numbers(self.text, decimal)
        return kept[decimal]

    def by_row(self, of_values: np.ndarray) -> np.ndarray:
        """What holds of the values, for the rows; NaN where there is none."""
        return np.append(of_values.astype(np.float64), np.nan)[self.code]


@dataclass(frozen=True, eq=False)
class VectorLook:
    """A column of vectors, or columns that together are one. missing: bool (n,), rows without a number. wrong: cells that are no
    vector of `length` numbers."""

    missing: np.ndarray
    length: int
    wrong: int
    examples: list[str]

    @classmethod
    def at(cls, column: pd.Series | pd.DataFrame) -> VectorLook:
        if isinstance(column, pd.DataFrame):
            values, wrong = np.column_stack([numbers(column.iloc[:, k]) for k in range(column.shape[1])]), 0
        else:
            values, wrong = read_vectors(column)
        known = np.isfinite(values)
        whole = np.flatnonzero(known.all(1))[:3] if values.shape[1] else []
        examples = ["[" + ", ".join(f"{x:.3g}" for x in values[k, :4]) + (", …]" if values.shape[1] > 4 else "]") for k in whole]
        return cls(~known.any(1), values.shape[1], wrong, examples)
