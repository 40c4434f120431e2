"""From a trained model to one file that answers anywhere: written with all libraries at hand, opened with numpy and onnxruntime.

python -m recsys_core bundle --run DIR --out FILE.zip [--quantize int8] [--prune 0.3]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from .. import __version__
from ..errors import Unsupported
from ..evaluation.questions import scale_of
from ..models._base import Recommender
from ..models._portable import Portable
from ..portable.archive import write_archive
from ..portable.ids import UserCodes

if TYPE_CHECKING:
    import pandas as pd

Members = dict[str, np.ndarray | bytes]


def write_bundle(
    model: Recommender,
    path: Path,
    *,
    portable: Portable | None = None,
    codec: str = "float32",
    with_users: bool = True,
    item_table: pd.DataFrame | None = None,
    title_column: str | None = None,
    about: dict[str, Any] | None = None,
) -> str:
    """Write one variant of a fitted model; returns the bundle's fingerprint.

    portable: what `model.portable()` gave, pruned or not. codec: of float matrices, "float32", "float16" or "int8". item_table: the
    columns to go along, row i = item code i. about: what else the manifest says (run, protocol, metrics, licence, report, probes)."""
    import json

    data, scale = model.fitted, scale_of(model)
    members: Members = {
        "items.json": json.dumps(data.items.decode(np.arange(data.n_items)).tolist(), ensure_ascii=False).encode(),
        "counts.npy": data.item_counts.astype(np.float32),
    }
    if with_users:
        hashes, codes = UserCodes.arrays(data.users.decode(np.arange(data.n_users)))
        histories = data.histories()
        arrays = {"hashes": hashes, "codes": codes, "indptr": histories.indptr, "items": histories.items, "values": histories.values}
        arrays |= {} if histories.times is None else {"times": histories.times}
        members |= {f"users/{name}.npy": array for name, array in arrays.items()}
    if item_table is not None and len(item_table.columns):
        columns = {str(name): [None if _missing(v) else _plain(v) for v in item_table[name]] for name in item_table.columns}
        members["item_table.json"] = json.dumps(columns, ensure_ascii=False, allow_nan=False).encode()
    form = pack(portable or model.portable(), "model", codec, members, with_users=with_users)
    members["model.json"] = json.dumps(form).encode()
    manifest = {
        "kind": "recommender bundle",
        "version": __version__,
        "model": {"key": model.key, "label": model.label, "family": model.family, "params": model.resolved.model_dump(mode="json")},
        "data": {
            "name": data.name, "n_users": data.n_users, "n_items": data.n_items,
            "n_interactions": len(data), "has_times": data.time is not None,
            "last_time": None if data.time is None or not len(data) else int(data.time.max()),
        },
        "scale": {
            "has_ratings": scale.has_ratings, "like": scale.like, "dislike": scale.dislike, "threshold": scale.threshold,
            "model_threshold": data.threshold, "predicts_ratings": model.predicts_ratings(),
            "lowest": float(data.value.min()) if scale.has_ratings and len(data) else None,
            "highest": float(data.value.max()) if scale.has_ratings and len(data) else None,
        },
        "title_column": title_column,
        "codec": codec,
        **(about or {}),
    }  # fmt: skip
    return write_archive(path, manifest, members)


def pack(portable: Portable, prefix: str, codec: str, members: Members, *, with_users: bool = True) -> dict[str, Any]:
    """Put the arrays of a form and of its parts into `members`; returns what model.json says of it."""
    if portable.made_of_users and not with_users:
        rule = "This model answers from what its training users chose, so it cannot be bundled without users."
        raise Unsupported(rule, "Bundle it with users, or bundle another model.")
    kept = portable.matrices | (portable.user_matrices if with_users else {})
    matrices = {name: _pack_matrix(value, f"{prefix}/{name}", codec, members) for name, value in kept.items()}
    if portable.networks:
        from .onnx_export import to_onnx

        for name, net in portable.networks.items():
            members[f"{prefix}/{name}.onnx"] = to_onnx(net, quantize=codec == "int8")
    return {
        "form": portable.form,
        "settings": portable.settings,
        "matrices": matrices,
        "networks": list(portable.networks),
        "parts": [pack(part, f"{prefix}.{number}", codec, members, with_users=with_users) for number, part in enumerate(portable.parts)],
    }


def _pack_matrix(value: np.ndarray | sparse.csr_matrix, at: str, codec: str, members: Members) -> dict[str, Any]:
    if sparse.issparse(value):
        rows = value.tocsr()
        rows.sort_indices()
        index = np.int32 if max(rows.shape[1], rows.nnz) < 2**31 else np.int64
        data = rows.data.astype(np.float16 if codec in ("float16", "int8") and _fits_half(rows.data) else np.float32)
        members |= {
            f"{at}.indptr.npy": rows.indptr.astype(index),
            f"{at}.indices.npy": rows.indices.astype(np.uint16 if rows.shape[1] <= 2**16 else np.int32),
            f"{at}.data.npy": data,
        }
        return {"kind": "sparse", "codec": data.dtype.name, "shape": list(rows.shape)}
    value = np.asarray(value)
    if value.ndim != 2 or value.dtype.kind != "f":
        members[f"{at}.npy"] = value
        return {"kind": "dense", "codec": "raw", "shape": list(value.shape)}
    if codec == "int8":
        scales = np.maximum(np.abs(value).max(axis=1, initial=0), 1e-30).astype(np.float32) / 127
        members |= {f"{at}.npy": np.rint(value / scales[:, None]).astype(np.int8), f"{at}.scales.npy": scales}
        return {"kind": "dense", "codec": "int8", "shape": list(value.shape)}
    narrow = codec == "float16" and _fits_half(value)
    members[f"{at}.npy"] = value.astype(np.float16 if narrow else np.float32)
    return {"kind": "dense", "codec": "float16" if narrow else "float32", "shape": list(value.shape)}


def _fits_half(values: np.ndarray) -> bool:
    return bool(np.abs(values).max(initial=0) < 6e4)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or str(value) in ("<NA>", "NaT")


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (str, int, float, bool)) else str(value)
