"""The settings of a re-ranking method: the generated form, and for rules one that knows the data (categories, columns, titles)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core.metrics._catalog import category_features, category_names
from recsys_core.params import ParamField, fields

from . import state
from .forms import params_form
from .inspect_items import Names, item_names
from .text import count, listing, md, short

OFFERED = 500  # items to choose among by title; any other by its id
MOST_VALUES = 200


def shape_form(method: Any, key: str, dataset_id: str, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Name -> value of all parameters but the strength. values: where the form starts."""
    known = {field.name: field for field in fields(method.Params)}
    if method.key == "rules" and set(RULES) <= set(known):
        out = _rules(known, key, dataset_id, dict(values or {}))
        left = [field for name, field in known.items() if name not in RULES]
        return out | (params_form(left, key, values=values) if left else {})
    return params_form([f for f in known.values() if f.name != "strength"], key, values=values)


# ---- rules -------------------------------------------------------------------------------------------
RULES = (
    "max_per_category", "category_caps", "cap_column", "pinned", "blocked", "freshness", "newer_than_days", "date_column",
    "provider_column", "provider_min_share", "provider_shares",
)  # fmt: skip
FRESHNESS = {"off": "Any", "prefer": "Fresh ones first", "require": "Fresh ones only"}


def _rules(known: Mapping[str, ParamField], key: str, dataset_id: str, start: dict[str, Any]) -> dict[str, Any]:
    names, table = item_names(dataset_id), state.dataset(dataset_id).item_table
    start = {name: start.get(name, field.default) for name, field in known.items()}
    parts: tuple[tuple[str, str, Callable[[], dict[str, Any]]], ...] = (
        ("At most so many of a kind", "vertical_align_top", lambda: _caps(known, key, dataset_id, table, start)),
        ("Pinned and blocked items", "push_pin", lambda: _items(known, key, names, start)),
        ("Fresh items", "schedule", lambda: _fresh(known, key, table, start)),
        ("A smallest share for providers", "storefront", lambda: _providers(known, key, dataset_id, table, start)),
    )
    out: dict[str, Any] = {}
    for title, icon, draw in parts:
        with st.expander(title, icon=f":material/{icon}:", key=f"{key}-{icon}", expanded=icon == "vertical_align_top"):
            found = draw()
        out |= found
        told = _told({name: value for name, value in found.items() if value != known[name].default and not name.endswith("column")}, known)
        if told:  # said outside: what is folded away is not forgotten
            st.caption(f":material/check: {md(told)}.")
    return out


def _items(known: Mapping[str, ParamField], key: str, names: Names, start: dict[str, Any]) -> dict[str, Any]:
    """By title among the most popular, or by typing an id."""
    offered = list(names.ids.decode(np.argsort(-names.counts, kind="stable")[:OFFERED]))
    out = {}
    for name in ("pinned", "blocked"):
        out[name] = st.multiselect(
            md(known[name].label), list(dict.fromkeys([*start[name], *offered])), list(start[name]), key=f"{key}/{name}",
            format_func=lambda item: short(names.title(str(item)), 60), accept_new_options=True, persist_state="session",
            placeholder="A title, or any item id", help=f"{known[name].help} The {count(len(offered))} most popular items are offered.",
        )  # fmt: skip
    return out


def _caps(known: Mapping[str, ParamField], key: str, dataset_id: str, table: Any, start: dict[str, Any]) -> dict[str, Any]:
    column = _column(known["cap_column"], f"{key}/cap_column", table, start["cap_column"], "Categories")
    most = st.number_input(
        md(known["max_per_category"].label), 1, 1000, start["max_per_category"], key=f"{key}/max_per_category",
        placeholder="no cap", help=known["max_per_category"].help, persist_state="session",
    )  # fmt: skip
    offered = _categories(str(state.root()), dataset_id, column)
    caps = _amounts(known["category_caps"], f"{key}/category_caps-{column}", offered, start["category_caps"], whole=True)
    return {"cap_column": column, "max_per_category": most, "category_caps": caps}


def _fresh(known: Mapping[str, ParamField], key: str, table: Any, start: dict[str, Any]) -> dict[str, Any]:
    wanted = st.segmented_control(
        md(known["freshness"].label), list(FRESHNESS), format_func=FRESHNESS.get, default=start["freshness"], required=True,
        key=f"{key}/freshness", label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    days, column = start["newer_than_days"], start["date_column"]
    if wanted != "off":
        days = st.number_input(
            md(known["newer_than_days"].label), 1, 36_500, days, key=f"{key}/newer_than_days", help=known["newer_than_days"].help,
            persist_state="session",
        )  # fmt: skip
        column = _column(known["date_column"], f"{key}/date_column", table, column, "First interaction with the item")
    return {"freshness": wanted, "newer_than_days": int(days), "date_column": column}


def _providers(known: Mapping[str, ParamField], key: str, dataset_id: str, table: Any, start: dict[str, Any]) -> dict[str, Any]:
    column = _column(known["provider_column"], f"{key}/provider_column", table, start["provider_column"], "None")
    if not column:
        return {"provider_column": "", "provider_min_share": 0.0, "provider_shares": {}}
    least = st.slider(
        md(known["provider_min_share"].label), 0.0, 1.0, float(start["provider_min_share"]), 0.05, format="percent",
        key=f"{key}/provider_min_share", help=known["provider_min_share"].help, persist_state="session",
    )  # fmt: skip
    field = known["provider_shares"]
    offered = _whole_values(str(state.root()), dataset_id, column)
    shares = _amounts(field, f"{key}/provider_shares-{column}", offered, start["provider_shares"], whole=False)
    return {"provider_column": column, "provider_min_share": least, "provider_shares": shares}


def _column(field: ParamField, key: str, table: pd.DataFrame | None, start: str, none: str) -> str:
    """A column of the item table, or "" for what stands first."""
    columns = ["", *(map(str, table.columns) if table is not None else ())]
    at = columns.index(start) if start in columns else 0
    shown = {name: short(name, 40) if name else none for name in columns}
    return st.selectbox(md(field.label), columns, at, format_func=shown.get, key=key, help=field.help, persist_state="session")


def _amounts(field: ParamField, key: str, values: Sequence[str], start: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    """Some values, each with a number of its own."""
    chosen = st.multiselect(
        md(field.label), list(dict.fromkeys([*start, *values])), list(start), key=key, help=field.help, persist_state="session",
        format_func=lambda value: short(value, 40), placeholder="Choose some",
    )  # fmt: skip
    out: dict[str, Any] = {}
    for value in chosen:
        about: dict[str, Any] = {"key": f"{key}/{value}", "persist_state": "session"}
        label = md(short(value, 40))
        if whole:
            out[value] = int(st.number_input(f"At most, of {label}", 0, 1000, int(start.get(value, 2)), **about))
        else:
            out[value] = st.slider(f"At least, of {label}", 0.0, 1.0, float(start.get(value, 0.1)), 0.05, format="percent", **about)
    return out


@st.cache_resource(max_entries=64, show_spinner=False)
def _categories(folder: str, dataset_id: str, column: str) -> list[str]:
    """The categories of the items, or what a column of theirs holds taken as such; most frequent first."""
    data = state.dataset(dataset_id)
    meta = dict(data.meta)
    if column:
        noted = meta.get("item_columns") or {}
        meta = {"item_columns": {"categories": [column], "separator": noted.get("separator")}}
    found = category_features(data.item_table, meta)
    if found is None:
        return []
    order = np.argsort(-np.bincount(found.indices, minlength=found.shape[1]), kind="stable")
    names = category_names(data.item_table, meta)
    return [names[n] for n in order[:MOST_VALUES]]


@st.cache_resource(max_entries=64, show_spinner=False)
def _whole_values(folder: str, dataset_id: str, column: str) -> list[str]:
    """What the cells of a column hold, most frequent first."""
    values = state.dataset(dataset_id).item_table[column].dropna().astype("str").str.strip()
    return [str(one) for one in values.value_counts().index[:MOST_VALUES]]


def _told(changed: Mapping[str, Any], known: Mapping[str, ParamField]) -> str:
    """The rules that are set, in a few words."""
    told = []
    for name, value in changed.items():
        if isinstance(value, list):
            told.append(f"{known[name].label.lower()}: {count(len(value))}")
        elif isinstance(value, dict):
            told.append(listing([f"{one} {part:g}" for one, part in value.items()], 4))
        else:
            told.append(f"{known[name].label.lower()}: {FRESHNESS.get(str(value), f'{value:g}' if isinstance(value, float) else value)}")
    return "; ".join(told)
