"""Fields of values from a list: one a row, or several."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import QUIET, RunContext
from ._field import NOTHING, OTHER, Field
from .columns import different, values_of
from .guessing import rare_below

MOST_VALUES = 5_000  # of one field; rarer ones count as other


@dataclass(frozen=True)
class Categorical(Field):
    """One value a row. Features: a column for each value, one for all others, one for nothing."""

    kind: ClassVar[str] = "categorical"
    label: ClassVar[str] = "Categories"
    summary: ClassVar[str] = "One feature for each value that returns; rare ones share one."
    values: list[str]

    @classmethod
    def fit(cls, name: str, column: pd.Series, ctx: RunContext = QUIET, separator: str | None = None) -> Self:
        code, distinct = different(column)
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
        code, distinct = different(column)
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
