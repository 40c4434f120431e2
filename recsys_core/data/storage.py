"""Datasets and plain arrays on disk: parquet and safetensors, never pickle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .dataset import Dataset
from .ids import IdMap


def save_dataset(data: Dataset, folder: Path, *, tables: bool = True) -> None:
    """Write a dataset into an existing folder: arrays.safetensors, users/items.parquet, dataset.json."""
    arrays = {"user": data.user, "item": data.item, "value": data.value}
    if data.time is not None:
        arrays["time"] = data.time
    save_arrays(arrays, folder / "arrays.safetensors")
    for side, ids, table in (("users", data.users, data.user_table), ("items", data.items, data.item_table)):
        ids.save(folder / f"{side}.parquet")
        if tables and table is not None and len(table.columns):  # parquet counts no rows where there are no columns
            table.to_parquet(folder / f"{side[:-1]}_table.parquet", index=False)
    about = {"name": data.name, "feedback": data.feedback, "threshold": data.threshold, "meta": data.meta, "stats": data.stats.as_dict()}
    (folder / "dataset.json").write_text(json.dumps(about, indent=1))


def load_dataset(folder: Path) -> Dataset:
    """The inverse of `save_dataset`."""
    about = json.loads((folder / "dataset.json").read_text())
    arrays = load_arrays(folder / "arrays.safetensors")
    tables = {
        f"{side}_table": pd.read_parquet(folder / f"{side}_table.parquet") if (folder / f"{side}_table.parquet").exists() else None
        for side in ("user", "item")
    }
    return Dataset(
        users=IdMap.load(folder / "users.parquet"),
        items=IdMap.load(folder / "items.parquet"),
        user=arrays["user"],
        item=arrays["item"],
        value=arrays["value"],
        time=arrays.get("time"),
        feedback=about["feedback"],
        threshold=about["threshold"],
        name=about["name"],
        meta=about["meta"],
        **tables,
    )


def on_longer_ids(data: Dataset, users: IdMap, items: IdMap, user_table: pd.DataFrame | None, item_table: pd.DataFrame | None) -> Dataset:
    """The same interactions on id maps that go on where those of `data` end, with these tables; new ids get empty rows."""

    def fitted(table: pd.DataFrame | None, n: int) -> pd.DataFrame | None:
        return table if table is None or len(table) == n else table.reset_index(drop=True).reindex(range(n))

    return replace(data, users=users, items=items, user_table=fitted(user_table, len(users)), item_table=fitted(item_table, len(items)))


def save_arrays(state: dict[str, Any], path: Path) -> None:
    """One safetensors file of numpy arrays, torch tensors (moved to the CPU), csr matrices and JSON values."""
    from safetensors.numpy import save_file

    arrays, plain, shapes = {}, {}, {}
    for name, value in state.items():
        if sparse.issparse(value):
            matrix = sparse.csr_matrix(value)
            for part in ("data", "indices", "indptr"):
                arrays[f"{name}/{part}"] = np.ascontiguousarray(getattr(matrix, part))
            shapes[name] = list(matrix.shape)
        elif isinstance(value, np.ndarray):
            arrays[name] = np.asarray(value, order="C")  # as it is, also without dimensions
        elif hasattr(value, "detach"):
            arrays[name] = np.asarray(value.detach().cpu().numpy(), order="C")
        else:
            plain[name] = value
    save_file(arrays, str(path), metadata={"plain": json.dumps(plain), "csr": json.dumps(shapes)})


def load_arrays(path: Path) -> dict[str, Any]:
    """The inverse of `save_arrays`; tensors come back as numpy arrays."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        about = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is not a dict
    state: dict[str, Any] = json.loads(about.get("plain", "{}"))
    for name, shape in json.loads(about.get("csr", "{}")).items():
        parts = tuple(arrays.pop(f"{name}/{part}") for part in ("data", "indices", "indptr"))
        state[name] = sparse.csr_matrix(parts, shape=tuple(shape))
    return state | arrays
