"""The parts of M6-Rec an ablation takes away, and those that make no difference on some data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...data.dataset import Dataset
from ...data.features import FeatureSet, guess_schema

if TYPE_CHECKING:
    from ._m6_params import M6Params

AXES: dict[str, tuple[Any, ...]] = {
    "levels": (0, 1, 2, 3, 4),
    "fuser": ("concat", "gated_sum", "attention", "bilinear"),
    "adaptive": (True, False),
    "text": (True, False),
    "features": (True, False),
    "derived": (True, False),
    "ids": (True, False),
}


_kinds: WeakKeyDictionary[Dataset, dict[str, set[str]]] = WeakKeyDictionary()  # every variant of a plan asks again


def kinds_of(data: Dataset) -> dict[str, set[str]]:
    """Side -> kinds of the columns of its table that are used."""
    if data not in _kinds:
        chosen, tables = data.features or FeatureSet(), {"item": data.item_table, "user": data.user_table}
        schemas = {side: chosen.schema(side, guess_schema(table)) for side, table in tables.items() if table is not None}
        _kinds[data] = {side: {what.kind for what in schema.values() if what.kind is not None} for side, schema in schemas.items()}
    return _kinds[data]


def without_effect(params: M6Params, data: Dataset) -> dict[str, str]:
    """Parameter -> why it changes nothing, or cannot be changed, beside the other settings on this data."""
    kinds = kinds_of(data)
    read = {side: found for side, found in kinds.items() if found - ({"text"} if not params.text else set())} if params.features else {}
    out = {}
    if not params.levels:
        out["fuser"] = "There are no levels to be joined."
    if not any(kinds.values()):
        out["features"] = "There are no columns of users or items to read."
    if not params.features or not any("text" in found for found in kinds.values()):
        out["text"] = "No text column is read."
    if not read and not params.derived:
        out["adaptive"] = "There is one field only, the id, so nothing can be weighed."
    if "item" not in read:
        out["ids"] = "Nothing else is known of the items."
    return out
