"""The feature sets of a saved dataset: what analysts chose of its columns; one of them is the current one.

On disk, beside the immutable dataset: features/<id>.json, features/current.json and vectors/<hash>.npz (vector files).
A run names the set it was trained with, so that editing the features never changes what an earlier run means.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..data.features import FeatureSet
from ..data.features.columns import columns_of
from ..data.features.vector_files import read_vector_file
from ..errors import BadInput, DataError, NotFound
from .entries import DatasetEntry
from .files import clean_name, read_json_cached, staged_file, write_json

if TYPE_CHECKING:
    from ..data.dataset import Dataset

SIDES = ("user", "item")


def save_feature_set(entry: DatasetEntry, chosen: FeatureSet) -> str:
    """Make it the dataset's current set; returns its id ("" = as guessed). Raises BadInput: something of it does not exist."""
    chosen = chosen.checked({side: columns(entry, side, chosen) for side in SIDES})
    folder = entry.path / "features"
    folder.mkdir(exist_ok=True)
    if chosen.id:
        write_json(folder / f"{chosen.id}.json", chosen.to_json())
    write_json(folder / "current.json", {"id": chosen.id})
    return chosen.id


def current_features(entry: DatasetEntry) -> str:
    """The id of the current set; "" = as guessed."""
    return str((read_json_cached(entry.path / "features" / "current.json") or {}).get("id", ""))


def feature_set(entry: DatasetEntry, features: str) -> FeatureSet:
    """A set by its id. Raises NotFound."""
    if not features:
        return FeatureSet()
    saved = read_json_cached(entry.path / "features" / f"{features}.json")
    if not isinstance(saved, dict):
        raise NotFound(f"The dataset '{entry.name}' has no feature set '{features}'.", "Choose its features again on Data.")
    return FeatureSet.from_json(saved)


def with_features(entry: DatasetEntry, data: Dataset, features: str) -> Dataset:
    """The dataset, or a part of it on id maps that may go on, with a feature set, and with the vectors of its vector files as columns
    of the tables. Raises NotFound: the set or its vectors are not there any more."""
    chosen = feature_set(entry, features)
    if not chosen.id:
        return data
    tables = {side: with_vectors(entry, getattr(data, f"{side}_table"), side, chosen) for side in SIDES}
    tables = {side: _rows(table, data.n_items if side == "item" else data.n_users) for side, table in tables.items()}
    return replace(data, features=chosen, user_table=tables["user"], item_table=tables["item"])


def _rows(table: pd.DataFrame | None, n: int) -> pd.DataFrame | None:
    """With empty rows for ids that came after those of the dataset."""
    return table if table is None or len(table) == n else table.reindex(range(n))


def columns(entry: DatasetEntry, side: str, chosen: FeatureSet) -> list[str]:
    """The columns of a side's table, those of its vector files included; of the table only the header is read."""
    path = entry.path / f"{side}_table.parquet"
    own: list[str] = []
    if path.exists():
        import pyarrow.parquet as pq

        own = list(columns_of(pq.read_schema(path).empty_table().to_pandas()))
    return own + list(chosen.vectors.get(side, {}))


def joins(entry: DatasetEntry) -> dict[str, dict[str, Any] | None]:
    """side -> how its table met the ids of the interactions, of the ingest report."""
    return {side: entry.report.get(f"{side}_join") for side in SIDES}


@dataclass(frozen=True)
class VectorReport:
    """hash: of the file's vectors as they were saved. length: numbers a vector. rows: of the file; matched: of them, those whose id the
    dataset has; bare: users or items of the dataset without a vector."""

    name: str
    side: str
    hash: str
    length: int
    rows: int
    matched: int
    bare: int

    @property
    def sentences(self) -> list[str]:
        said = [f"{self.matched:,} of {self.rows:,} vectors belong to {self.side}s of the dataset; each has {self.length:,} numbers."]
        if self.matched < self.rows:
            lost = self.rows - self.matched
            said.append("1 id of the file matches nothing." if lost == 1 else f"{lost:,} ids of the file match nothing.")
        if self.bare:
            who = f"1 {self.side} has" if self.bare == 1 else f"{self.bare:,} {self.side}s have"
            said.append(f"{who} no vector; that is a value of its own.")
        return said


def add_vectors(entry: DatasetEntry, side: str, path: str | Path, name: str, id_column: str | None = None) -> VectorReport:
    """Keep a file of vectors beside the dataset (vectors/<hash>.npz). Models read it once a feature set names it:
    `with_vector_file`. Raises DataError: it cannot be read, or none of its ids is one of the dataset."""
    if side not in SIDES:
        raise BadInput(f"Vectors describe users or items, not '{side}'.", "Choose user or item.")
    name = clean_name(name, what="column name")
    ids, vectors = read_vector_file(path, id_column)
    known = entry.ids()[SIDES.index(side)]
    codes = known.encode(ids)
    matched = codes >= 0
    if not matched.any():
        first, own = str(ids.iloc[0]), str(known.ids[0]) if len(known) else "none"
        one = "an item" if side == "item" else "a user"
        raise DataError(
            f"None of the {len(ids):,} ids of '{Path(path).name}' (such as '{first}') is {one} of the dataset (such as '{own}').",
            "Write the ids as in the interactions, or choose the other side.",
        )
    order = np.argsort(codes[matched], kind="stable")
    codes, vectors = codes[matched][order], np.ascontiguousarray(vectors[matched][order])
    digest = hashlib.blake2b(codes.tobytes() + repr(vectors.shape).encode() + vectors.tobytes(), digest_size=8).hexdigest()
    folder = entry.path / "vectors"
    folder.mkdir(exist_ok=True)
    target = folder / f"{digest}.npz"
    if not target.exists():
        with staged_file(target) as file:
            np.savez(file, codes=codes, vectors=vectors)
    return VectorReport(name, side, digest, vectors.shape[1], len(ids), len(codes), len(known) - len(codes))


def with_vector_file(entry: DatasetEntry, chosen: FeatureSet, report: VectorReport) -> FeatureSet:
    """The set with a vector file as one more column. Raises BadInput where its name is taken."""
    taken = set(columns(entry, report.side, chosen)) - set(chosen.vectors.get(report.side, {}))
    if report.name in taken:
        raise BadInput(f"The {report.side} table has a column '{report.name}' already.", "Give the vectors another name.")
    of_side = chosen.vectors.get(report.side, {}) | {report.name: report.hash}
    return replace(chosen, vectors=chosen.vectors | {report.side: of_side})


def with_vectors(entry: DatasetEntry, table: pd.DataFrame | None, side: str, chosen: FeatureSet) -> pd.DataFrame | None:
    """A table with one more column (of float32 arrays, None where there is none) for each vector file of its side."""
    files = chosen.vectors.get(side, {})
    if not files:
        return table
    n = len(entry.ids()[SIDES.index(side)])
    more = {}
    for name, hashed in files.items():
        path = entry.path / "vectors" / f"{hashed}.npz"
        if not path.exists():
            raise NotFound(f"The vectors '{name}' of the dataset '{entry.name}' are not there any more.", "Add their file again on Data.")
        with np.load(path, allow_pickle=False) as saved:
            column = np.full(n, None, dtype=object)
            column[saved["codes"]] = list(saved["vectors"])
            more[name] = column
    added = pd.DataFrame(more, index=range(n))
    return added if table is None else pd.concat([table.reset_index(drop=True), added], axis=1)
