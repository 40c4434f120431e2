"""Ready vectors: a column of lists, or several columns of numbers, that came from elsewhere (pictures, sound, graphs, texts)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import QUIET, RunContext
from ...errors import DataError, Unsupported
from ._field import NOTHING, Field
from .columns import numbers
from .vectors import read_vectors

FARTHEST = 10.0  # deviations; numbers farther out are pulled in
BLOCK = 65_536  # rows scaled at a time
SAMPLE = 100_000  # rows that principal components are learnt from


@dataclass(frozen=True, eq=False)
class Vector(Field):
    """Vectors of one length: each number brought to mean 0 and deviation 1, by principal components where `size` asks for fewer.

    A number that is not there is 0 (the mean), and a last feature says that the vector is missing or has gaps.
    length: numbers read. columns: of the table, where several together are the vector; None: the column `name` holds lists.
    wrong: vectors of another length it met when it learnt; they count as missing.
    """

    kind: ClassVar[str] = "vector"
    label: ClassVar[str] = "Vector"
    summary: ClassVar[str] = "Numbers that came from elsewhere, in a list or in numbered columns, brought to a common scale."
    mean: np.ndarray
    deviation: np.ndarray
    components: np.ndarray | None = None  # (length, size), scaled
    columns: list[str] | None = None
    wrong: int = 0

    @classmethod
    def fit(
        cls, name: str, column: pd.Series | pd.DataFrame, ctx: RunContext = QUIET, size: int | None = None, columns: list[str] | None = None
    ) -> Self:
        """column: lists, or a frame of `columns`. Raises Unsupported where there is no vector."""
        values, wrong = _numbers(column, None)
        if values.shape[1] == 0 or not np.isfinite(values).any():
            raise Unsupported(f"The column '{name}' holds no vectors of numbers.", "Its cells must be lists such as [0.1, -2, 3].")
        n = np.maximum(sum(np.isfinite(part).sum(0) for part in _blocks(values)), 1)
        mean = sum(np.nansum(part, axis=0) for part in _blocks(values)) / n
        deviation = np.sqrt(sum(np.nansum((part - mean) ** 2, axis=0) for part in _blocks(values)) / n)
        deviation = np.where(deviation > 1e-9 * np.maximum(1e-30, np.abs(mean)), deviation, 1.0)
        learnt = cls(name, mean, deviation, None, None if columns is None else list(columns), wrong)
        if size is None or size >= values.shape[1]:
            return learnt
        if len(values) > SAMPLE:
            values = values[np.random.default_rng(0).choice(len(values), SAMPLE, replace=False)]
        return cls(name, mean, deviation, _components(learnt._scaled(values), size), learnt.columns, wrong)

    @property
    def reads(self) -> list[str]:
        return [self.name] if self.columns is None else self.columns

    @cached_property
    def names(self) -> list[str]:
        n = len(self.mean) if self.components is None else self.components.shape[1]
        own = self.columns if self.columns is not None and self.components is None else [f"{self.name} #{k + 1}" for k in range(n)]
        return [*own, f"{self.name}={NOTHING}"]

    @property
    def notes(self) -> list[str]:
        if not self.wrong:
            return []
        cells = "1 cell" if self.wrong == 1 else f"{self.wrong:,} cells"
        return [f"The column '{self.name}' has {cells} without {len(self.mean)} numbers as in the others; they count as missing."]

    def encode(self, column: pd.Series | pd.DataFrame, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        """csr (n, size + 1). Raises DataError where there are vectors and none has the length learnt."""
        width, any_read, any_wrong = len(self.names), False, False
        out = np.empty((len(column), width), np.float32)
        for start in range(0, len(column), BLOCK):  # in double precision only so many rows at a time
            part, wrong = _numbers(column.iloc[start : start + BLOCK], len(self.mean))
            to, known = out[start : start + BLOCK], np.isfinite(part)
            scaled = self._scaled(part)
            to[:, :-1] = scaled if self.components is None else scaled @ self.components
            to[:, -1] = ~known.all(1)
            any_read, any_wrong = any_read or bool(known.any()), any_wrong or wrong > 0
        if any_wrong and not any_read:
            raise DataError(
                f"The vectors of '{self.name}' do not have {len(self.mean):,} numbers, as those it was learnt from.",
                "Make them in the same way.",
            )
        places = np.tile(np.arange(width, dtype=np.int32), len(out))
        return sparse.csr_matrix((out.ravel(), places, np.arange(len(out) + 1) * width), shape=out.shape)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """float64 (n, length): 0 where there is nothing."""
        return np.nan_to_num(np.clip((values - self.mean) / self.deviation, -FARTHEST, FARTHEST), nan=0.0)

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "columns": self.columns, "wrong": self.wrong}

    def arrays(self) -> dict[str, np.ndarray]:
        more = {} if self.components is None else {"components": self.components}
        return {"mean": self.mean, "deviation": self.deviation, **more}

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        return cls(plain["name"], arrays["mean"], arrays["deviation"], arrays.get("components"), plain["columns"], plain["wrong"])


def _numbers(column: pd.Series | pd.DataFrame, length: int | None) -> tuple[np.ndarray, int]:
    """(float64 (n, length), NaN where there is nothing; vectors of another length, which are NaN as well)."""
    if isinstance(column, pd.DataFrame):
        return np.column_stack([numbers(column.iloc[:, k]) for k in range(column.shape[1])]).reshape(len(column), -1), 0
    return read_vectors(column, length)


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + BLOCK] for start in range(0, len(values), BLOCK)]


def _components(scaled: np.ndarray, size: int) -> np.ndarray:
    """(length, size): directions of greatest variance, scaled so that what they give has mean square 1; signs are fixed."""
    variance, directions = np.linalg.eigh(scaled.T @ scaled / max(1, len(scaled)))
    variance, directions = variance[::-1][:size], directions[:, ::-1][:, :size]
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    return directions / np.sqrt(max(float(variance[0]), 1e-12))  # one scale for all: the lesser directions stay lesser
