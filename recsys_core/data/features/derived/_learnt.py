"""What the high-level features share: state kept as it is, and what is looked up once per batch of histories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse

from ...dataset import Dataset
from ...histories import Histories
from ..encoder import FeatureTable
from ._base import Derived

SECONDS_A_DAY = 86_400.0


class Learnt(Derived):
    """A frozen dataclass whose fields are what it learnt: JSON-able ones, arrays and csr matrices."""

    columns: ClassVar[tuple[str, ...]] = ("",)

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def plain(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not _is_array(value)}

    def arrays(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if _is_array(value)}

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, Any]) -> Self:
        return cls(**plain, **arrays)


@dataclass(frozen=True, eq=False)
class ItemNumbers(Learnt):
    """A feature of items: its numbers are all it learnt. `numbers` says them for every item; without an interaction they are NaN."""

    values: np.ndarray

    @classmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        values = np.column_stack(cls.numbers(train, rng)).astype(np.float32)
        values[np.bincount(train.item, minlength=train.n_items) == 0] = np.nan
        return cls(values)

    @classmethod
    def numbers(cls, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        """One array (I,) for each of its columns; what stands at items without an interaction does not matter."""
        raise NotImplementedError

    def of_items(self) -> np.ndarray:
        return self.values


def relevant(histories: Histories, threshold: float | None) -> Histories:
    """`histories.relevant`, worked out once for all features of a batch."""
    return histories if threshold is None else _once(histories, ("relevant", threshold), lambda: histories.relevant(threshold))


def distinct(histories: Histories, n_items: int) -> sparse.csr_matrix:
    """csr float32 (B, n_items), 1 for each item had that training knew; worked out once for all features of a batch."""
    return _once(histories, ("distinct", n_items), lambda: _known(histories, n_items).matrix(n_items))


def _known(histories: Histories, n_items: int) -> Histories:
    """Without items of codes from n_items on."""
    known = histories.items < n_items
    if known.all():
        return histories
    return Histories.from_rows(len(histories), histories.row[known], histories.items[known], histories.values[known])


def rows(histories: Histories) -> np.ndarray:
    """`histories.row`, worked out once for all features of a batch."""
    return _once(histories, "row", lambda: histories.row)


def percentiles(count: np.ndarray) -> np.ndarray:
    """float32 (I,): share of all choices on items with fewer, and half of those on items with as many."""
    level, where = np.unique(count, return_inverse=True)
    on_level = np.bincount(where, minlength=len(level)) * level
    below = np.cumsum(on_level) - on_level
    return ((below + on_level / 2) / max(1, count.sum()))[where].astype(np.float32)


def ends(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """float64 (B,) seconds of the first and of the last interaction; NaN in empty rows and without times."""
    first, last = np.full(len(histories), np.nan), np.full(len(histories), np.nan)
    if histories.times is not None:
        some = histories.lengths > 0
        first[some] = histories.times[histories.indptr[:-1][some]]
        last[some] = histories.times[histories.indptr[1:][some] - 1]
    return first, last


def nan_unless(known: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """float32 (n, d): the columns beside each other, NaN rows where nothing is known."""
    return np.where(np.asarray(known, dtype=bool)[:, None], np.column_stack(columns), np.nan).astype(np.float32)


def _once(histories: Histories, what: Any, make: Any) -> Any:
    """Kept with the histories themselves, which never change."""
    kept = histories.__dict__.setdefault("_derived", {})
    if what not in kept:
        kept[what] = make()
    return kept[what]


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or sparse.issparse(value)
