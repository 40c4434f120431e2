"""The feature sets of a saved dataset: what analysts chose of its columns; one of them is the current one.

On disk, beside the immutable dataset: features/<id>.json, features/current.json and vectors/<hash>.npz (vector files).
A run names the set it was trained with, so that editing the features never changes what an earlier run means.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..data.features import FeatureSet
from ..errors import NotFound
from .entries import DatasetEntry
from .files import read_json_cached, write_json

if TYPE_CHECKING:
    from ..data.dataset import Dataset

SIDES = ("user", "item")


def save_feature_set(entry: DatasetEntry, chosen: FeatureSet) -> str:
    """Make it the dataset's current set; returns its id ("" = as guessed)."""
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
    """The dataset with a feature set, and with the vectors of its vector files as columns of the tables."""
    chosen = feature_set(entry, features)
    if not chosen.id:
        return data
    tables = {side: with_vectors(entry, getattr(data, f"{side}_table"), side, chosen) for side in SIDES}
    return replace(data, features=chosen, user_table=tables["user"], item_table=tables["item"])


def with_vectors(entry: DatasetEntry, table: pd.DataFrame | None, side: str, chosen: FeatureSet) -> pd.DataFrame | None:
    """A table with one more column (of float32 arrays, None where there is none) for each vector file of its side."""
    files = chosen.vectors.get(side, {})
    if not files:
        return table
    n = len(entry.ids()[SIDES.index(side)])
    more = {}
    for name, hashed in files.items():
        with np.load(entry.path / "vectors" / f"{hashed}.npz", allow_pickle=False) as saved:
            column = np.full(n, None, dtype=object)
            column[saved["codes"]] = list(saved["vectors"])
            more[name] = column
    added = pd.DataFrame(more, index=range(n))
    return added if table is None else pd.concat([table.reset_index(drop=True), added], axis=1)
