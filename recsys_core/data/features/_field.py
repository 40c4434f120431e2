"""The contract of a field: one column (or several that are one vector), learnt, and then encoded wherever it occurs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import QUIET, RunContext
from ...params import ParamField
from .settings import settings_fields

OTHER, NOTHING = "(other)", "(missing)"


@dataclass(frozen=True)
class Field:
    """One column, learnt. `names`: its features. `encode(column, ctx)`: csr float32 (n, len(names)), nothing there is a value of its own.

    A kind is a frozen dataclass whose values are JSON-able; what is larger it gives as `arrays` and takes back in `restore`.
    """

    kind: ClassVar[str]
    label: ClassVar[str]  # "Categories", for people
    summary: ClassVar[str]  # one sentence: what becomes of the column
    name: str

    @classmethod
    def settings_fields(cls) -> tuple[ParamField, ...]:
        """What can be set, for an editor (`ui.forms.params_form` draws it); declared in `settings.py`."""
        return settings_fields(cls.kind)

    @property
    def reads(self) -> list[str]:
        """The columns of the table it reads; with more than one, or one of another name, `encode` is given a data frame of them."""
        return [self.name]

    @property
    def names(self) -> list[str]:
        raise NotImplementedError

    @property
    def notes(self) -> list[str]:
        """Sentences on cells that could not be read."""
        return []

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
class Id(Field):
    """A column that numbers or links the rows: known, and left out of the features."""

    kind: ClassVar[str] = "id"
    label: ClassVar[str] = "Id or link"
    summary: ClassVar[str] = "Numbers, names or links the rows; gives no features."


def beside(columns: list[np.ndarray]) -> sparse.csr_matrix:
    """Numbers beside each other, 0 where there is none, and a last column that says so."""
    missing = np.isnan(columns[0])
    filled = [np.where(missing, 0.0, values) for values in columns]
    return sparse.csr_matrix(np.column_stack([*filled, missing]).astype(np.float32))
