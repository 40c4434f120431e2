"""A dataset's tables as features, for people: what each column is, what is in it, and what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .checks import Finding, check_table, look_at
from .columns import columns_of, days
from .encoder import guess_schema
from .feature_set import SIDES, FeatureSet
from .fields import KINDS
from .guessing import Guess, members, settings_to_read
from .look import Look, VectorLook

if TYPE_CHECKING:
    from ..dataset import Dataset

EXAMPLES = 5
FREQUENT = 10
LONGEST = 200  # characters of an example
QUANTILES = {"least": 0.0, "quarter": 0.25, "middle": 0.5, "three quarters": 0.75, "most": 1.0}


def feature_report(
    data: Dataset, chosen: FeatureSet | None = None, *, joins: Mapping[str, Mapping[str, Any] | None] | None = None
) -> dict[str, Any]:
    """{"item": {...}, "user": {...}}, sides with a table only; JSON-able. joins: side -> how its table met the ids, of the ingest report.

    Of a side: rows, n_features (without texts, which are encoded when a model is trained), findings of the whole table, columns.
    Of a column: name, members (columns that together are one vector), guessed and chosen (kind, reason, settings), n_features (None:
    not known before training), share_missing, n_distinct (None for vectors), examples, frequent [[value, rows]], quantiles, findings.
    """
    out = {}
    for side in SIDES[::-1]:
        table = data.item_table if side == "item" else data.user_table
        if table is None:
            continue
        guessed = guess_schema(table)
        schema = (chosen or FeatureSet()).schema(side, guessed)
        looks = look_at(table, schema)
        findings = check_table(table, data, side, schema, join=(joins or {}).get(side), looks=looks)
        columns = columns_of(table)
        described = [_column(name, columns, guessed.get(name), schema[name], look, findings) for name, look in looks.items()]
        out[side] = {
            "rows": len(table),
            "n_features": sum(one["n_features"] or 0 for one in described),
            "findings": [one.plain() for one in findings if not one.column],
            "columns": sorted(described, key=lambda one: list(columns).index((one["members"] or [one["name"]])[0])),
        }
    return out


def _column(
    name: str, columns: dict[str, pd.Series], guessed: Guess | None, what: Guess, look: Look | VectorLook, findings: list[Finding]
) -> dict[str, Any]:
    group = [one for one in members(what) if one in columns]
    column = pd.DataFrame({one: columns[one] for one in group}) if group else columns[name]
    vector = isinstance(look, VectorLook)
    missing = look.missing.mean() if vector else 1 - look.n_present / max(1, len(look))
    examples = look.examples if vector else [str(value)[:LONGEST] for value in look.values[:EXAMPLES]]
    return {
        "name": name,
        "members": group,
        "guessed": None if guessed is None else _plain(guessed),
        "chosen": _plain(what),
        "n_features": _n_features(name, column, what, look),
        "share_missing": float(missing) if len(column) else 0.0,
        "n_distinct": None if vector else len(look.values),
        "examples": examples,
        "frequent": [] if vector else [[value[:LONGEST], rows] for value, rows in look.frequent(FREQUENT)],
        "quantiles": None if vector else _quantiles(look, what),
        "findings": [one.plain() for one in findings if one.column == name],
    }


def _plain(what: Guess) -> dict[str, Any]:
    label = "Left out" if what.kind is None else KINDS[what.kind].label
    return {"kind": what.kind, "label": label, "reason": what.reason, "settings": dict(what.settings or {})}


def _n_features(name: str, column: pd.Series | pd.DataFrame, what: Guess, look: Look | VectorLook) -> int | None:
    if what.kind in (None, "id"):
        return 0
    if what.kind == "text":
        return None
    if isinstance(look, VectorLook):
        size = (what.settings or {}).get("size")
        return min(look.length, size or look.length) + 1
    if what.kind == "numeric":
        return 2
    return len(KINDS[what.kind].fit(name, column, **settings_to_read(what, column)).names)


def _quantiles(look: Look, what: Guess) -> dict[str, float | str] | None:
    """Of numbers, and of dates as ISO text."""
    if what.kind not in ("numeric", "date"):
        return None
    settings = what.settings or {}
    if what.kind == "numeric":
        values = look.by_row(look.numbers(settings.get("decimal", ".")))
    else:
        values = look.by_row(days(pd.Series(look.values, dtype=object), settings.get("day_first", False), settings.get("unit")))
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    found = dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())), strict=True))
    return {key: float(value) if what.kind == "numeric" else str(np.datetime64(int(value), "D")) for key, value in found.items()}
