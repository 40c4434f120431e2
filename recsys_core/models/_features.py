"""The one door by which models read the user and item tables: encoded as the dataset's feature set says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ..context import QUIET, RunContext
from ..data.dataset import Dataset
from ..data.features import FeatureEncoder, FeatureSet, FeatureTable, guess_schema
from ..errors import Unsupported

SIDES = ("user", "item")


@dataclass
class SideFeatures:
    """encoders, tables: "user" and "item", only sides that give features; row i of a table describes code i.
    left_out: side -> column -> why it gives none."""

    encoders: dict[str, FeatureEncoder] = field(default_factory=dict)
    tables: dict[str, FeatureTable] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def fit(cls, data: Dataset, ctx: RunContext = QUIET, *, sides: Iterable[str] = SIDES, without: Iterable[str] = ()) -> Self:
        """Learn the columns of the tables and encode them. without: kinds of fields left out ("text", "vector")."""
        out, chosen = cls(), data.features or FeatureSet()
        for side in sides:
            table = data.user_table if side == "user" else data.item_table
            if table is None:
                continue
            encoder = FeatureEncoder.fit(table, chosen.schema(side, guess_schema(table)), ctx, without=without)
            out.left_out[side] = encoder.left_out
            if encoder.names:
                out.encoders[side], out.tables[side] = encoder, encoder.table(table, ctx)
        return out

    def matrix(self, side: str, n: int) -> sparse.csr_matrix:
        """csr float32 (n, features) of a side; no columns where it gives none."""
        return self.tables[side].matrix if side in self.tables else sparse.csr_matrix((n, 0), dtype=np.float32)

    def encode(self, side: str, table: pd.DataFrame, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        """csr float32 (n, features) of rows never seen, with (some of) the table's columns."""
        if side not in self.encoders:
            raise Unsupported(f"The model learnt no features of {side}s, so it cannot place new ones.", f"Train it with a {side} table.")
        return self.encoders[side].encode(table, ctx)

    def notes(self) -> list[str]:
        """Sentences on what was used and what was not."""
        used = [f"{name} ({side})" for side, table in self.tables.items() for name, _ in table.fields]
        said = [f"Columns used: {', '.join(used)}."] if used else []
        said += [note for encoder in self.encoders.values() for one in encoder.encoders for note in getattr(one, "notes", [])]
        for side, left in self.left_out.items():
            said += [f"The {side} column '{name}' is not used: {why}" for name, why in left.items()]
        return said

    def state(self) -> dict[str, Any]:
        """For a model's `_state`; `restore` is the inverse. The encoded tables are kept, the tables themselves are not."""
        out: dict[str, Any] = {"features": {side: encoder.to_dict() for side, encoder in self.encoders.items()}}
        for side, encoder in self.encoders.items():
            out[f"features.{side}"] = self.tables[side].matrix
            out |= {f"features.{side}.{name}": value for name, value in encoder.arrays().items()}
        return out

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        out = cls()
        for side, saved in state["features"].items():
            prefix = f"features.{side}."
            arrays = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            encoder = FeatureEncoder.from_dict(saved, arrays)
            matrix = sparse.csr_matrix(state[f"features.{side}"])
            out.encoders[side] = encoder
            out.tables[side] = FeatureTable(matrix, encoder.names, encoder.field, encoder.fields, encoder.left_out)
            out.left_out[side] = encoder.left_out
        return out
