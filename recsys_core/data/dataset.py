"""The one dataset: frozen arrays of codes, an id map for each side, and what is derived from them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from .histories import Histories
from .ids import IdMap

if TYPE_CHECKING:
    from .features import FeatureSet

Feedback = Literal["explicit", "implicit"]
Kind = Literal["binary", "value", "count", "seen"]


@dataclass(frozen=True)
class DatasetStats:
    """What cost estimates, "auto" parameters and "what does this model need" look at. JSON-able."""

    n_users: int
    n_items: int
    n_interactions: int
    longest_history: int
    has_time: bool
    has_ratings: bool
    has_item_table: bool
    has_user_table: bool

    @property
    def density(self) -> float:
        """Interactions per cell of the user × item table."""
        return self.n_interactions / max(1, self.n_users * self.n_items)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"density": self.density}


@dataclass(frozen=True, eq=False)
class Dataset:
    """n interactions of U users with I items.

    user, item: int32 (n,) codes. value: float32 (n,): the rating (feedback "explicit") or the weight of
    the interaction: count or summed event weights (feedback "implicit"; 1 when the file had none).
    time: int64 UTC seconds (n,) or None. user_table / item_table: row i describes code i, or None.
    threshold: an interaction is *relevant* (a positive, a hit) when value >= threshold; None = all are.
    The arrays are read-only. A (user, item) pair may occur more than once.
    """

    users: IdMap
    items: IdMap
    user: np.ndarray
    item: np.ndarray
    value: np.ndarray
    time: np.ndarray | None = None
    feedback: Feedback = "implicit"
    threshold: float | None = None
    user_table: pd.DataFrame | None = None
    item_table: pd.DataFrame | None = None
    name: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    features: FeatureSet | None = None  # what the analyst chose of the tables' columns; None: as guessed. Not part of the content hash

    def __post_init__(self) -> None:
        for name, dtype in (("user", np.int32), ("item", np.int32), ("value", np.float32), ("time", np.int64)):
            array = getattr(self, name)
            if array is None:
                continue
            array = np.ascontiguousarray(array, dtype=dtype)
            if len(array) != len(self.user):
                raise ValueError(f"{name} has {len(array)} entries, user has {len(self.user)}")
            array = array.view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if len(self.user) and (
            self.user.min() < 0 or self.user.max() >= len(self.users) or self.item.min() < 0 or self.item.max() >= len(self.items)
        ):
            raise ValueError("user and item codes must lie inside their id maps")
        for table, ids, name in ((self.user_table, self.users, "user_table"), (self.item_table, self.items, "item_table")):
            if table is not None and len(table) != len(ids):
                raise ValueError(f"{name} has {len(table)} rows, its id map has {len(ids)}")

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @cached_property
    def relevant(self) -> np.ndarray:
        """bool (n,): which interactions count as positives."""
        return np.ones(len(self), dtype=bool) if self.threshold is None else self.value >= self.threshold

    def matrix(self, kind: Kind = "binary") -> sparse.csr_matrix:
        """csr float32 (U, I), duplicates merged, indices sorted; do not write to it.

        binary: 1 for relevant pairs. value: ratings averaged, or weights summed (relevant or not).
        count: weights of relevant pairs summed. seen: 1 for every pair, relevant or not.
        """
        return self._matrices(kind)

    def _matrices(self, kind: Kind) -> sparse.csr_matrix:
        cache = self.__dict__.setdefault("_matrix_cache", {})
        if kind not in cache:
            cache[kind] = self._build_matrix(kind)
        return cache[kind]

    def _build_matrix(self, kind: Kind) -> sparse.csr_matrix:
        keep = slice(None) if kind in ("value", "seen") else self.relevant
        user, item = self.user[keep], self.item[keep]
        data = self.value[keep] if kind in ("value", "count") else np.ones(len(user), np.float32)
        out = sparse.coo_matrix((data, (user, item)), shape=(self.n_users, self.n_items), dtype=np.float32).tocsr()
        if kind in ("binary", "seen"):
            out.data[:] = 1
        elif kind == "value" and self.feedback == "explicit" and out.nnz < len(user):
            times = sparse.coo_matrix((np.ones(len(user), np.float32), (user, item)), shape=out.shape).tocsr()
            times.sort_indices()
            out.sort_indices()
            out.data /= times.data
        out.sort_indices()
        return out

    def histories(self, users: np.ndarray | None = None, max_len: int | None = None, relevant_only: bool = False) -> Histories:
        """Ordered histories of the users asked for (all, in code order, when None)."""
        whole = self._all_histories(relevant_only)
        chosen = whole if users is None else whole.take(users)
        return chosen.last(max_len) if max_len else chosen

    def _all_histories(self, relevant_only: bool) -> Histories:
        cache = self.__dict__.setdefault("_history_cache", {})
        if relevant_only not in cache:
            keep = self.relevant if relevant_only and self.threshold is not None else slice(None)
            time = None if self.time is None else self.time[keep]
            cache[relevant_only] = Histories.from_rows(self.n_users, self.user[keep], self.item[keep], self.value[keep], time)
        return cache[relevant_only]

    def subset(self, mask: np.ndarray) -> Dataset:
        """The interactions where mask (bool or positions) holds; the id maps stay, so codes compare."""
        return replace(
            self,
            user=self.user[mask],
            item=self.item[mask],
            value=self.value[mask],
            time=None if self.time is None else self.time[mask],
        )

    @cached_property
    def item_counts(self) -> np.ndarray:
        """int64 (I,): distinct users with a relevant interaction, per item."""
        return np.bincount(self.matrix("binary").indices, minlength=self.n_items)

    @cached_property
    def user_counts(self) -> np.ndarray:
        """int64 (U,): distinct relevant items, per user."""
        return np.diff(self.matrix("binary").indptr)

    @cached_property
    def stats(self) -> DatasetStats:
        per_user = np.bincount(self.user, minlength=self.n_users)
        return DatasetStats(
            n_users=self.n_users,
            n_items=self.n_items,
            n_interactions=len(self),
            longest_history=int(per_user.max(initial=0)),
            has_time=self.time is not None,
            has_ratings=self.feedback == "explicit",
            has_item_table=self.item_table is not None and self.item_table.shape[1] > 0,
            has_user_table=self.user_table is not None and self.user_table.shape[1] > 0,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Content hash (16 hex) of interactions, ids, tables and settings; independent of the name and of `features`, the columns of
        its vector files included."""
        digest = hashlib.blake2b(digest_size=8)
        for ids in (self.users, self.items):
            digest.update(np.asarray(pd.util.hash_array(np.asarray(ids.ids, dtype=object)), dtype=np.uint64).tobytes())
        for array in (self.user, self.item, self.value, self.time):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        for side, table in (("user", self.user_table), ("item", self.item_table)):
            added = list(self.features.vectors.get(side, {})) if self.features is not None else []
            if table is not None and len(added) < table.shape[1]:
                _digest_table(digest, table.drop(columns=added, errors="ignore") if added else table)
        digest.update(f"{self.feedback}/{self.threshold}".encode())
        return digest.hexdigest()


def _digest_table(digest: Any, table: pd.DataFrame) -> None:
    """Vectors by their bytes: written out as text they take milliseconds each, and the middle of long ones is left out."""
    digest.update(",".join(map(str, table.columns)).encode())
    vectors = [k for k in range(table.shape[1]) if _holds_vectors(table.iloc[:, k])]
    others = table.iloc[:, [k for k in range(table.shape[1]) if k not in vectors]] if vectors else table
    if others.shape[1] or not vectors:
        digest.update(pd.util.hash_pandas_object(others.astype("str"), index=False).to_numpy().tobytes())
    for k in vectors:
        for cell in table.iloc[:, k]:
            if isinstance(cell, np.ndarray) and cell.dtype.kind in "fiu":
                digest.update(f"{cell.dtype.str}{cell.shape}".encode() + cell.tobytes())
            else:
                digest.update(str(cell).encode() + b"|")


def _holds_vectors(column: pd.Series) -> bool:
    first = column.first_valid_index() if column.dtype == object else None
    cell = None if first is None else column.loc[first]
    return isinstance(cell, np.ndarray) and cell.dtype.kind in "fiu"


def from_frame(
    frame: pd.DataFrame,
    *,
    user: str = "user",
    item: str = "item",
    value: str | None = None,
    time: str | None = None,
    feedback: Feedback = "implicit",
    threshold: float | None = None,
    users: IdMap | None = None,
    items: IdMap | None = None,
    user_table: pd.DataFrame | None = None,
    item_table: pd.DataFrame | None = None,
    name: str = "",
) -> Dataset:
    """A Dataset from a clean frame (no checks: `data.ingest` is the door for raw files).

    Ids get codes in sorted order unless id maps are given; rows with ids outside given maps raise.
    """
    from .ids import as_text

    user_ids, item_ids = as_text(frame[user]), as_text(frame[item])
    users = users or IdMap(np.sort(user_ids.unique()))
    items = items or IdMap(np.sort(item_ids.unique()))
    return Dataset(
        users=users,
        items=items,
        user=users.encode(user_ids),
        item=items.encode(item_ids),
        value=frame[value].to_numpy(np.float32) if value else np.ones(len(frame), np.float32),
        time=frame[time].to_numpy(np.int64) if time else None,
        feedback=feedback,
        threshold=threshold,
        user_table=user_table,
        item_table=item_table,
        name=name,
    )
