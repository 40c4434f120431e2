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
    """csr float32 (B, n_items), 1 for each item had; worked out once for all features of a batch."""
    return _once(histories, ("distinct", n_items), lambda: histories.matrix(n_items))


def rows(histories: Histories) -> np.ndarray:
    """`histories.row`, worked out once for all features of a batch."""
    return _once(histories, "row", lambda: histories.row)


def sums(values: np.ndarray, row: np.ndarray, n: int) -> np.ndarray:
    """float64 (n,): the sum of each row's values."""
    return np.bincount(row, values, minlength=n)


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) != 0)


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
