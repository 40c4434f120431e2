"""Features in words: what a column is taken for, what a setting means, what was changed and not saved yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys_core.data.features import KINDS, FeatureSet, Guess
from recsys_core.data.features.derived_set import describe

from .data_features_state import same, used_derived
from .text import listing, number

SIDES = ("item", "user")
LEFT_OUT = "Left out"


def kind_label(kind: str | None) -> str:
    return LEFT_OUT if kind is None else KINDS[kind].label if kind in KINDS else kind


def changes(entry: Any, before: FeatureSet, after: FeatureSet, guessed: Mapping[str, Mapping[str, Guess]]) -> list[str]:
    """One sentence for each thing that differs between two sets."""
    out = []
    for side in SIDES:
        for name in dict.fromkeys([*before.columns.get(side, {}), *after.columns.get(side, {})]):
            start = guessed[side].get(name)
            was, now = (one.columns.get(side, {}).get(name, start) for one in (before, after))
            if was is not None and now is not None and not same(now, was):
                out.append(_change(side, name, was, now))
        files = before.vectors.get(side, {}), after.vectors.get(side, {})
        out += [f"{side.capitalize()} vectors '{name}': added." for name in files[1] if files[0].get(name) != files[1][name]]
        out += [f"{side.capitalize()} vectors '{name}': removed." for name in files[0] if name not in files[1]]
    rows = {row["key"]: row for row in describe(entry.stats)}
    defaults = [key for key, row in rows.items() if row["default"]]
    was, now = used_derived(before, defaults), used_derived(after, defaults)
    for title, keys in (("now used", now - was), ("no longer used", was - now)):
        if keys:
            labels = sorted(rows[key]["label"] if key in rows else key for key in keys)
            out.append(f"High-level features {title}: {listing(labels, 6)}.")
    return out


def _change(side: str, name: str, was: Guess, now: Guess) -> str:
    column = f"{side.capitalize()} column '{name}'"
    if was.kind != now.kind:
        return f"{column}: left out." if now.kind is None else f"{column}: {kind_label(now.kind).lower()} instead of {_was(was)}."
    fields = {field.name: field.label for field in KINDS[now.kind].settings_fields()} if now.kind in KINDS else {}
    old, new = was.settings or {}, now.settings or {}
    parts = [f"{fields.get(key, key).lower()} {_value(new.get(key))}" for key in {**old, **new} if old.get(key) != new.get(key)]
    return f"{column}: {listing(parts)}." if parts else f"{column}: changed."


def _was(was: Guess) -> str:
    return "left out" if was.kind is None else kind_label(was.kind).lower()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    return "as found out" if value in (None, "") else listing(value) if isinstance(value, list) else f"'{value}'"
