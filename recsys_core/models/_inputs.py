"""What networks of users and items read of a dataset: encoded tables, high-level features, which items were learnt about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ..context import RunContext
from ..data.dataset import Dataset
from ..data.features import FeatureSet, FeatureTable
from ..data.features.derived_set import DerivedSet
from ..data.histories import Histories
from ..errors import Unsupported
from ._features import SIDES, SideFeatures

KIND = "derived"


@dataclass
class Inputs:
    """side: encoded tables. derived: "user", "item", those sides that have high-level features.
    items: the item table with the item's high-level features after it; users: csr (U, f) of the user table alone.
    known: bool (I,), items whose id and high-level features count."""

    side: SideFeatures
    derived: dict[str, DerivedSet]
    known: np.ndarray
    n_users: int
    items: FeatureTable = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.known)
        table = self.side.tables.get("item", FeatureTable(sparse.csr_matrix((n, 0), dtype=np.float32), [], np.empty(0, np.int64), []))
        self.items = table.beside(self.derived["item"].item_table()) if "item" in self.derived else table

    @classmethod
    def fit(
        cls, data: Dataset, ctx: RunContext, counts: np.ndarray, *, features: bool, derived: bool, text: bool, ids: bool
    ) -> tuple[Self, list[str]]:
        """(inputs, sentences on what was read). Everything is learnt from `data`, the training part, alone.

        counts: (I,) what each item was learnt from."""
        side = SideFeatures.fit(data, ctx, sides=SIDES if features else (), without=() if text else ("text",))
        notes = side.notes()
        if features and not side.tables:
            notes.append("There are no columns of users or items to read: it learns from ids and histories alone.")
        found: dict[str, DerivedSet] = {}
        if derived:
            keys = (data.features or FeatureSet()).derived
            for name in SIDES:
                made = DerivedSet.fit(data, keys, side.tables.get("item"), ctx.rng(f"derived {name}"), name)
                notes += made.notes()
                if made.names:
                    found[name] = made
        if not ids and "item" not in side.tables:
            raise Unsupported(
                "Without ids items are known by the columns of the item table alone, and none of them are read here.",
                "Switch ids on, or add an item table and use its columns.",
            )
        known = counts > 0 if "item" in side.tables else np.ones(len(counts), bool)
        return cls(side, found, known, data.n_users), notes

    # ---- layouts ---------------------------------------------------------------------------------
    @property
    def item_layout(self) -> Any:
        return _layout(self.items.field, self.items.fields)

    @property
    def item_derived(self) -> list[bool]:
        return [kind == KIND for _, kind in self.items.fields]

    @property
    def users(self) -> sparse.csr_matrix:
        return self.side.matrix("user", self.n_users)

    @property
    def user_table(self) -> Any:
        table = self.side.tables.get("user")
        return _layout(table.field, table.fields) if table else _layout(np.empty(0, np.int64), [])

    @property
    def user_fields(self) -> list[tuple[str, str]]:
        table = self.side.tables.get("user")
        return (table.fields if table else []) + (self.derived["user"].fields if "user" in self.derived else [])

    @property
    def user_layout(self) -> Any:
        table = self.side.tables.get("user")
        own = table.field if table else np.empty(0, np.int64)
        if "user" in self.derived:
            own = np.concatenate([own, self.derived["user"].field + (table.n_fields if table else 0)])
        return _layout(own, self.user_fields)

    def of_histories(self, histories: Histories) -> np.ndarray:
        """float32 (B, d): the high-level features of users, from what is shown of their histories alone."""
        made = self.derived.get("user")
        out = made.of_histories(histories) if made else np.zeros((len(histories), 0), np.float32)
        return np.asarray(out, np.float32)

    def new_items(self, table: pd.DataFrame) -> sparse.csr_matrix:
        """csr (n, f) of items from outside, without high-level features."""
        encoded = self.side.encode("item", table)
        more = sparse.csr_matrix((len(table), len(self.items.names) - encoded.shape[1]), dtype=np.float32)
        return sparse.hstack([encoded, more], format="csr")

    # ---- saved -----------------------------------------------------------------------------------
    def state(self) -> dict[str, Any]:
        out = self.side.state() | {"known": self.known, "derived": {side: made.plain() for side, made in self.derived.items()}}
        for side, made in self.derived.items():
            out |= {f"derived.{side}.{name}": value for name, value in made.arrays().items()}
        return out

    @classmethod
    def restore(cls, state: dict[str, Any], n_users: int) -> Self:
        derived = {}
        for side, plain in state["derived"].items():
            prefix = f"derived.{side}."
            derived[side] = DerivedSet.restore(plain, {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        return cls(SideFeatures.restore(state), derived, np.asarray(state["known"], bool), n_users)


def _layout(number: np.ndarray, fields: list[tuple[str, str]]) -> Any:
    from ..nn.field_embeddings import Layout, kinds_of

    return Layout(np.asarray(number, np.int64), kinds_of(fields))
