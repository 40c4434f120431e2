"""What the Features tab reads: tables with their vectors, guesses, the report on a set. All of it is kept by content."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.data.features import KINDS, FeatureSet, Guess, guess_schema
from recsys_core.data.features.columns import columns_of
from recsys_core.data.features.guessing import members, settings_to_read
from recsys_core.data.features.preview import Preview, preview
from recsys_core.data.features.report import feature_report
from recsys_core.store.feature_sets import with_vectors

from . import data_features_state as chosen_features
from . import state

SIDES = ("item", "user")
TEXT_SIZE = next(int(field.default) for field in KINDS["text"].settings_fields() if field.name == "size")


@dataclass(frozen=True)
class Row:
    """A column as the table shows it. missing: share of the rows. n_values: None for vectors. n_features: of texts, at most.
    why: what it is taken for, or left out for. members: the columns that together are one vector."""

    name: str
    what: Guess
    examples: tuple[str, ...]
    missing: float
    n_values: int | None
    n_features: int
    why: str
    members: tuple[str, ...] = ()


def table_of(entry: Any, side: str, chosen: FeatureSet) -> pd.DataFrame | None:
    """The saved table and the vectors of a set, row = code; shared and read-only."""
    return _table(str(state.root()), entry.id, side, json.dumps(chosen.vectors.get(side, {}), sort_keys=True))


@st.cache_resource(max_entries=8, show_spinner=False)
def _table(folder: str, dataset_id: str, side: str, vectors: str) -> pd.DataFrame | None:
    table = getattr(state.dataset(dataset_id), f"{side}_table")
    return with_vectors(state.workspace().dataset(dataset_id), table, side, FeatureSet(vectors={side: json.loads(vectors)}))


def column_guesses(entry: Any, side: str, chosen: FeatureSet) -> dict[str, Guess]:
    return _guesses(str(state.root()), entry.id, side, json.dumps(chosen.vectors.get(side, {}), sort_keys=True), chosen)


@st.cache_resource(max_entries=16, show_spinner="Looking at the columns …")
def _guesses(folder: str, dataset_id: str, side: str, vectors: str, _chosen: FeatureSet) -> dict[str, Guess]:
    return guess_schema(table_of(state.workspace().dataset(dataset_id), side, _chosen))


def preview_of(entry: Any, side: str, name: str, what: Guess) -> Preview:
    """What becomes of one column of the saved table (or of its vectors)."""
    settings = json.dumps(what.settings or {}, sort_keys=True, default=str)
    return _preview(str(state.root()), entry.id, side, name, what.kind, settings, entry)


@st.cache_resource(max_entries=64, show_spinner="Looking at the column …")
def _preview(folder: str, dataset_id: str, side: str, name: str, kind: str | None, settings: str, _entry: Any) -> Preview:
    table = table_of(_entry, side, chosen_features.draft(_entry))
    what = Guess(kind, settings=json.loads(settings))
    return preview(name, _read_by(columns_of(table), name, what), what)


def settings_of(entry: Any, side: str, name: str, what: Guess) -> dict[str, Any]:
    """The settings as the column is read with them, those found out included."""
    settings = json.dumps(what.settings or {}, sort_keys=True, default=str)
    return _settings(str(state.root()), entry.id, side, name, what.kind, settings, entry)


@st.cache_resource(max_entries=64, show_spinner=False)
def _settings(folder: str, dataset_id: str, side: str, name: str, kind: str | None, settings: str, _entry: Any) -> dict[str, Any]:
    what = Guess(kind, settings=json.loads(settings))
    table = table_of(_entry, side, chosen_features.draft(_entry))
    return settings_to_read(what, _read_by(columns_of(table), name, what))


def _read_by(columns: dict[str, pd.Series], name: str, what: Guess) -> pd.Series | pd.DataFrame:
    """The column, or the columns that together are one vector."""
    return pd.DataFrame({one: columns[one] for one in members(what) if one in columns}) if members(what) else columns[name]


def report_of(entry: Any, chosen: FeatureSet) -> dict[str, Any]:
    """`feature_report` of the dataset with a set; {} where it has no tables and no vectors."""
    columns = replace(chosen, derived=None)  # high-level features say nothing of columns
    return _report(str(state.root()), entry.id, json.dumps(columns.to_json(), sort_keys=True))


@st.cache_resource(max_entries=32, show_spinner="Looking at the columns …")
def _report(folder: str, dataset_id: str, chosen: str) -> dict[str, Any]:
    entry, features = state.workspace().dataset(dataset_id), FeatureSet.from_json(json.loads(chosen))
    tables = {f"{side}_table": table_of(entry, side, features) for side in SIDES}
    joins = {side: entry.report.get(f"{side}_join") for side in SIDES}
    return feature_report(replace(state.dataset(dataset_id), **tables), features, joins=joins)


def rows_of(report: dict[str, Any], side: str) -> list[Row]:
    """One row a column (a group of columns that are one vector is one), in the order of the table."""
    return [_row(one) for one in report.get(side, {}).get("columns", [])]


def _row(one: dict[str, Any]) -> Row:
    what = Guess(one["chosen"]["kind"], one["chosen"]["reason"], one["chosen"]["settings"] or None)
    n_features = one["n_features"]
    if n_features is None:  # texts: known for sure once they are encoded
        n_features = int((what.settings or {}).get("size", TEXT_SIZE)) + 1
    why = what.reason or (KINDS[what.kind].summary if what.kind in KINDS else "")
    shown = tuple(one["examples"][:3])
    return Row(one["name"], what, shown, one["share_missing"], one["n_distinct"], n_features, why, tuple(one["members"]))
