"""A whole table encoded: its fields learnt once, then any rows with these columns in the same features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import QUIET, RunContext
from ...errors import DataError
from .columns import columns_of
from .fields import KINDS
from .guessing import Guess, guess


@dataclass(frozen=True)
class FeatureTable:
    """Row i of `matrix` (csr float32, rows × features) describes code i.

    names: what each feature is ("genres=Comedy", "year"). field: int64 (n_features,), the field each belongs
    to, ascending. fields: (name, kind) of each field. left_out: column -> why it gives no features.
    """

    matrix: sparse.csr_matrix
    names: list[str]
    field: np.ndarray
    fields: list[tuple[str, str]]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        return len(self.names)

    @property
    def n_fields(self) -> int:
        return len(self.fields)

    def span(self, number: int) -> slice:
        """The columns of one field."""
        start, stop = np.searchsorted(self.field, [number, number + 1])
        return slice(int(start), int(stop))

    def dense(self, number: int) -> np.ndarray:
        """float32 (rows, d): one field as a plain array (numbers, text and other vectors)."""
        return self.matrix[:, self.span(number)].toarray()

    def beside(self, other: FeatureTable) -> FeatureTable:
        """These features and, after them, those of another table of the same rows."""
        matrix = sparse.hstack([self.matrix, other.matrix], format="csr", dtype=np.float32)
        field = np.concatenate([self.field, other.field + self.n_fields])
        return FeatureTable(matrix, self.names + other.names, field, self.fields + other.fields, self.left_out | other.left_out)


class FeatureEncoder:
    """What was learnt from a table: its fields. Encodes any table with (some of) these columns."""

    def __init__(self, encoders: list[Any], left_out: dict[str, str] | None = None) -> None:
        self.encoders, self.left_out = encoders, dict(left_out or {})

    @classmethod
    def fit(
        cls,
        table: pd.DataFrame | None,
        schema: dict[str, Guess] | None = None,
        ctx: RunContext = QUIET,
        *,
        without: Iterable[str] = (),
    ) -> Self:
        """schema: what each column is (guessed when None); columns it does not name are left out. without: kinds left out."""
        columns = columns_of(table) if table is not None else {}
        schema = guess_schema(table) if schema is None else schema
        encoders, left_out = [], {}
        for name, column in columns.items():
            what = schema.get(name, Guess(None, "It was not chosen."))
            if what.kind is None:
                left_out[name] = what.reason
            elif what.kind in without:
                left_out[name] = f"Not read: {KINDS[what.kind].label.lower()}."
            elif what.kind in KINDS:
                encoders.append(KINDS[what.kind].fit(name, column, ctx, **(what.settings or {})))
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

    def encode(self, table: pd.DataFrame, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        """csr float32 (rows, n_features). A value never seen is "other"; a column that is not there is missing in every row."""
        columns = columns_of(table)
        nothing = pd.Series([None] * len(table), dtype=object)
        parts = [one.encode(columns.get(one.name, nothing), ctx) for one in self.encoders]
        out = sparse.hstack(parts, format="csr", dtype=np.float32) if parts else sparse.csr_matrix((len(table), 0), dtype=np.float32)
        out.eliminate_zeros()
        out.sort_indices()
        return out

    def table(self, table: pd.DataFrame, ctx: RunContext = QUIET) -> FeatureTable:
        """The encoded rows with what the columns mean."""
        return FeatureTable(self.encode(table, ctx), self.names, self.field, self.fields, self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, of fields without arrays; `from_dict` is the inverse."""
        return {"fields": [{"kind": one.kind, **one.plain()} for one in self.encoders], "left_out": self.left_out}

    @classmethod
    def from_dict(cls, saved: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Self:
        """arrays: "3.name" -> array "name" of field 3."""
        encoders = []
        for number, one in enumerate(saved["fields"]):
            prefix = f"{number}."
            own = {name.removeprefix(prefix): value for name, value in (arrays or {}).items() if name.startswith(prefix)}
            encoders.append(KINDS[one["kind"]].restore({k: v for k, v in one.items() if k != "kind"}, own))
        return cls(encoders, saved["left_out"])

    def arrays(self) -> dict[str, np.ndarray]:
        """What fields learnt that is too large for JSON: "3.name" -> array "name" of field 3."""
        return {f"{number}.{name}": value for number, one in enumerate(self.encoders) for name, value in one.arrays().items()}


def guess_schema(table: pd.DataFrame | None) -> dict[str, Guess]:
    """column -> what it is. Change entries and give them to `FeatureEncoder.fit`."""
    return {name: guess(name, column) for name, column in columns_of(table).items()} if table is not None else {}


def encode_table(table: pd.DataFrame, schema: dict[str, Guess] | None = None, ctx: RunContext = QUIET, **more: Any) -> FeatureTable:
    """Fit and encode in one go."""
    return FeatureEncoder.fit(table, schema, ctx, **more).table(table, ctx)
