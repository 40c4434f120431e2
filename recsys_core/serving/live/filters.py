"""Which items may appear, by the columns of the bundle: a mask a question, kept for the next one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import BadInput
from .records import Filters

MOST_KEPT = 256


class ItemFilters:
    """Masks over the items of a bundle's table; items that came later are judged by the features they came with."""

    def __init__(self, table: Mapping[str, Sequence[Any]]) -> None:
        self._table = {name: list(values) for name, values in table.items()}
        self._kept: OrderedDict[Any, np.ndarray] = OrderedDict()

    def add(self, n_before: int, features: Mapping[str, Any] | None) -> None:
        """A new item with the code n_before."""
        for name, values in self._table.items():
            values.extend([None] * (n_before - len(values)))
            values.append(None if features is None else features.get(name))
        self._kept.clear()

    def allowed(self, filters: Filters, n: int, code_of: Any) -> np.ndarray | None:
        """bool (n,), or None where everything may appear. Raises BadInput for a column that is not in the bundle."""
        key = (filters.key, n)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        mask = np.ones(n, bool)
        for name, values in filters.include.items():
            wanted = {str(value).strip().lower() for value in values}
            mask &= self._where(
                name, n, lambda cell, wanted=wanted: bool(wanted & {part.strip().lower() for part in _text(cell).split("|")})
            )
        for bounds, sign in ((filters.at_least, 1), (filters.at_most, -1)):
            for name, bound in bounds.items():
                mask &= self._where(name, n, lambda cell, b=bound, s=sign: (number := _number(cell)) is not None and s * number >= s * b)
        if filters.only is not None:
            only = np.zeros(n, bool)
            only[[code for code in map(code_of, filters.only) if 0 <= code < n]] = True
            mask &= only
        mask[[code for code in map(code_of, filters.exclude) if 0 <= code < n]] = False
        found = None if mask.all() else mask
        self._kept[key] = found
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    def _where(self, name: str, n: int, holds: Any) -> np.ndarray:
        if name not in self._table:
            known = ", ".join(self._table) or "none"
            raise BadInput(
                f"The bundle has no item column '{str(name)[:60]}'.", f"It has: {known}. Others must be taken along when it is made."
            )
        values = self._table[name]
        out = np.zeros(n, bool)
        out[: len(values)] = [cell is not None and holds(cell) for cell in values[:n]]
        return out


def _text(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None
