"""Which items may appear, by the columns of the bundle. Which items have a value is worked out once and kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BadInput
from .records import Filters, cell_text

NONE = np.empty(0, np.int32)


class _Column:
    """One column: which items have a value, and what number each has. Items that came later are added one by one."""

    def __init__(self, values: Sequence[Any], n_items: int) -> None:
        self._values, self._n = values, n_items
        self._lock = threading.Lock()
        self._having: dict[str, np.ndarray] | None = None
        self._numbers: np.ndarray | None = None
        self._later: dict[str, list[int]] = {}
        self._later_numbers: list[tuple[int, float]] = []

    def add(self, code: int, cell: Any) -> None:
        for value in _values(cell):
            self._later.setdefault(value, []).append(code)
        if (number := _number(cell)) is not None:
            self._later_numbers.append((code, number))

    def having(self, wanted: set[str], n: int) -> np.ndarray:
        """bool (n,): the items with one of these values."""
        out = np.zeros(n, bool)
        for value in wanted:
            out[self._codes(value)] = True
            later = np.array(self._later.get(value, ()), np.int64)
            out[later[later < n]] = True
        return out

    def between(self, low: float, high: float, n: int) -> np.ndarray:
        """bool (n,): the items with a number in these bounds."""
        with self._lock:
            if self._numbers is None:
                found = (_number(cell) for cell in self._values)
                self._numbers = np.array([np.nan if number is None else number for number in found])
        out = np.zeros(n, bool)
        out[: self._n] = (self._numbers >= low) & (self._numbers <= high)
        later = [code for code, number in list(self._later_numbers) if code < n and low <= number <= high]
        out[later] = True
        return out

    def _codes(self, value: str) -> np.ndarray:
        """int32: the model's items that have it."""
        with self._lock:
            if self._having is None:
                having: dict[str, list[int]] = {}
                for code, cell in enumerate(self._values):
                    for part in _values(cell):
                        having.setdefault(part, []).append(code)
                self._having = {part: np.array(codes, np.int32) for part, codes in having.items()}
        return self._having.get(value, NONE)


class ItemFilters:
    """Masks over the items of a bundle's table; items that came later are judged by the features they came with. Upper and lower case are
    the same. Cost: the first question of a column reads it once; a later one 2 µs a value with 20,000 items."""

    def __init__(self, table: Mapping[str, Sequence[Any]], n_items: int) -> None:
        self._columns = {name: _Column(values, n_items) for name, values in table.items()}

    def add(self, code: int, features: Mapping[str, Any]) -> None:
        """An item that came later."""
        for name, column in self._columns.items():
            column.add(code, features.get(name))

    def allowed(self, filters: Filters, n: int, code_of: Callable[[str], int]) -> np.ndarray:
        """bool (n,). Raises BadInput for a column that is not in the bundle."""
        mask = np.ones(n, bool)
        for name, values in filters.include.items():
            mask &= self._column(name).having({text for value in values for text in _values(value)}, n)
        for name, bound in filters.at_least.items():
            mask &= self._column(name).between(bound, np.inf, n)
        for name, bound in filters.at_most.items():
            mask &= self._column(name).between(-np.inf, bound, n)
        if filters.only is not None:
            only = np.zeros(n, bool)
            only[_codes(filters.only, n, code_of)] = True
            mask &= only
        mask[_codes(filters.exclude, n, code_of)] = False
        return mask

    def _column(self, name: str) -> _Column:
        if name not in self._columns:
            has = ", ".join(self._columns) or "none"
            raise BadInput(f"The bundle has no item column '{str(name)[:60]}'.", f"It has: {has}. Others are chosen when it is made.")
        return self._columns[name]


def _codes(items: Sequence[str], n: int, code_of: Callable[[str], int]) -> list[int]:
    return [code for code in map(code_of, items) if 0 <= code < n]


def _values(cell: Any) -> list[str]:
    """What stands in a cell: "Drama|War" is two values, 3.0 is "3", nothing is none."""
    if cell is None:
        return []
    return [part for part in (part.strip().lower() for part in cell_text(cell).split("|")) if part]


def _number(cell: Any) -> float | None:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return None if number != number else number
