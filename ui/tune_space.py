"""Which settings are searched, and where: one row a setting, to tick, with its range or its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from recsys_core.params import ParamField, fields
from recsys_core.tuning import describe_space

from .text import count, listing, md, number
from .tune_data import plain

BY_RATIO = "Searched by ratio: as many trials between 1 and 10 as between 10 and 100."
Row = Mapping[str, Any]


def rows_of(model_key: str, stats: Any) -> list[Row]:
    """What can be searched, as rows of the form: settings with a range or choices; switches only where they are main settings."""
    return [row for row in describe_space(model_key, {}, stats) if _has_range(row) and not (row["advanced"] and _is_switch(row))]


def _has_range(row: Row) -> bool:
    return bool(row["values"]) or row["low"] is not None


def _is_switch(row: Row) -> bool:
    return all(isinstance(value, bool) for value in row["values"]) and bool(row["values"])


def space_form(model: Any, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Draws the rows; name -> [low, high] or the values, of those that are ticked."""
    described = {f.name: f for f in fields(model.Params)}
    out: dict[str, list[Any]] = {}
    for row in [row for row in rows if not row["advanced"]]:
        _row(model.key, row, described[row["name"]], out)
    more = [row for row in rows if row["advanced"]]
    if more:
        with st.expander(
            f"More settings to search ({count(len(more), 'setting')})", icon=":material/tune:", key=f"tune-more-space-{model.key}"
        ):
            for row in more:
                _row(model.key, row, described[row["name"]], out)
        added = [row["label"] for row in more if row["name"] in out]
        if added:  # said outside: what is folded away is not forgotten
            st.caption(f"Also searched: {md(listing(added, 4))}.")
    return out


def _row(model_key: str, row: Row, field: ParamField, out: dict[str, list[Any]]) -> None:
    key = f"tune-space/{model_key}/{row['name']}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=key.replace("/", "-")):
        with st.container(width=300, gap=None):
            about = " ".join(filter(None, [field.named_help, _limits(row, field), BY_RATIO if row["scale"] == "log" else ""]))
            on = st.checkbox(md(row["label"]), value=bool(row["searched"]), key=f"{key}/on", help=about or None, persist_state="session")
            st.caption(f"Default: {md(_default(row, field))}")
        values = _values(row, field, key, not on) if row["values"] else _range(row, field, key, not on)
    if on:
        out[row["name"]] = values


def _default(row: Row, field: ParamField) -> str:
    told = _named(field, row["default"])
    return f"{told}, chosen for this data" if field.auto and field.default == "auto" and row["default"] != "auto" else told


def _limits(row: Row, field: ParamField) -> str:
    return "" if row["values"] else f"Usual range: {number(row['low'])} to {number(row['high'])}. Allowed: {field.rule}."


def _named(field: ParamField, value: Any) -> str:
    return field.option(value) if value in field.choices else plain(value)


def _values(row: Row, field: ParamField, key: str, off: bool) -> list[Any]:
    options = list(row["values"])
    picked = st.pills(
        f"Values of {row['label']}",
        options,
        selection_mode="multi",
        default=options,
        format_func=lambda value: _named(field, value),
        key=f"{key}/values",
        label_visibility="collapsed",
        disabled=off,
        persist_state="session",
        wrap=True,
        width="content",
    )
    return [value for value in options if value in (picked or [])]


def _range(row: Row, field: ParamField, key: str, off: bool) -> list[Any]:
    kind = int if row["kind"] == "int" else float
    low = field.ge if field.ge is not None else field.gt
    high = field.le if field.le is not None else field.lt
    ends = []
    for end in ("low", "high"):
        value = st.number_input(
            f"{'From' if end == 'low' else 'To'}",
            min_value=None if low is None else kind(low),
            max_value=None if high is None else kind(high),
            value=kind(row[end]),
            step=1 if kind is int else _step(row),
            format=None if kind is int else "%g",
            key=f"{key}/{end}",
            disabled=off,
            width=140,
            persist_state="session",
        )
        ends.append(kind(row[end]) if value is None else value)
    return ends


def _step(row: Row) -> float:
    """One significant digit of the smaller end, or a tenth of an even range."""
    size = row["low"] if row["scale"] == "log" and row["low"] > 0 else (row["high"] - row["low"]) / 10
    return float(f"{size:.1g}") or 0.1


def as_declared(rows: Sequence[Row], chosen: Mapping[str, Sequence[Any]]) -> bool:
    """Whether exactly what is searched by default is chosen, with the ranges as they are declared."""
    usual = {row["name"]: list(row["values"]) or [row["low"], row["high"]] for row in rows if row["searched"]}
    return usual == {name: list(values) for name, values in chosen.items()}
