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
from .fields import KINDS, Field, Id
from .guessing import GROUPED, Guess, guess, members, settings_to_read
from .vectors import numbered_groups

CYCLES = "date cycles"  # beside the kinds, what a model may do without: the time of year and week of dates


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

    def __init__(self, encoders: list[Field], left_out: dict[str, str] | None = None) -> None:
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
        """schema: what each column is (guessed when None); columns it does not name are left out. An entry that is no column may name
        several in its settings ("columns"), which together are one vector. without: kinds left out, and CYCLES."""
        columns = columns_of(table) if table is not None else {}
        schema = guess_schema(table) if schema is None else schema
        together = {name for what in schema.values() for name in members(what)}
        encoders, left_out = [], {}
        for name in _in_order(columns, schema):
            what = schema.get(name, Guess(None, GROUPED if name in together else "It was not chosen."))
            if name in together and what.kind is None:
                continue
            if what.kind is None or what.kind == Id.kind:
                left_out[name] = what.reason or Id.summary
            elif what.kind not in KINDS:
                raise DataError(f"The column '{name}' cannot be of kind '{what.kind}'.", f"Kinds are {', '.join(KINDS)}.")
            elif what.kind in without:
                left_out[name] = f"Not read: {KINDS[what.kind].label.lower()}."
            else:
                column = _column(columns, members(what) or [name], name, len(table))
                settings = settings_to_read(what, column)
                if what.kind == "date" and CYCLES in without:
                    settings["cycles"] = "no"
                encoders.append(KINDS[what.kind].fit(name, column, ctx, **settings))
        return cls(encoders, left_out)

    @property
    def notes(self) -> list[str]:
        """Sentences on cells that could not be read as what their column is."""
        return [note for one in self.encoders for note in one.notes]

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
        parts = [one.encode(_column(columns, one.reads, one.name, len(table)), ctx) for one in self.encoders]
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
    """column -> what it is; columns that together are one vector are one entry ("emb_*") in the place of the first of them.
    Change entries and give them to `FeatureEncoder.fit`."""
    if table is None:
        return {}
    columns = columns_of(table)
    groups = numbered_groups(columns)
    first = {names[0]: group for group, names in groups.items()}
    together = {name for names in groups.values() for name in names}
    schema = {}
    for name, column in columns.items():
        if name in first:
            schema[first[name]] = Guess("vector", settings={"columns": groups[first[name]]})
        elif name not in together:
            schema[name] = guess(name, column)
    return schema


def _in_order(columns: dict[str, pd.Series], schema: dict[str, Guess]) -> list[str]:
    """Columns and groups of them, in the order of the table; a group is where its first column is."""
    place = {name: number for number, name in enumerate(columns)}
    groups = {
        name: min((place[m] for m in members(what) if m in place), default=None) for name, what in schema.items() if name not in place
    }
    place |= {name: at - 0.5 for name, at in groups.items() if at is not None}
    return sorted(place, key=place.get)


def _column(columns: dict[str, pd.Series], reads: list[str], name: str, n: int) -> Any:
    """What a field reads: its column, or a frame of its columns; what is not there is missing in every row."""
    found = {one: columns.get(one, pd.Series([None] * n, dtype=object)) for one in reads}
    return found[name] if reads == [name] else pd.DataFrame(found, index=range(n))


def encode_table(table: pd.DataFrame, schema: dict[str, Guess] | None = None, ctx: RunContext = QUIET, **more: Any) -> FeatureTable:
    """Fit and encode in one go."""
    return FeatureEncoder.fit(table, schema, ctx, **more).table(table, ctx)
