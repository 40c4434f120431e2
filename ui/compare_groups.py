"""Kinds of users and items on the Compare page: what can be chosen, and the figures of each kind; all kept by run id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core import evaluation
from recsys_core.errors import WorkbenchError
from recsys_core.evaluation import Difference, ExposureFairness, Grouping, QualityFairness, Verdict

from . import state
from .compare_data import Group, _judged, _per_user, _topk

FIXED = {
    "user/activity": "How active users are",
    "user/new": "How new users are",
    "item/popularity": "How popular items are",
    "item/new": "How new items are",
}


@st.cache_resource(max_entries=4, show_spinner=False)
def _tables(folder: str, dataset_id: str) -> dict[str, pd.DataFrame | None]:
    entry = state._workspace(folder).dataset(dataset_id)
    return {side: entry.table(side) for side in ("user", "item")}


@st.cache_resource(max_entries=16, show_spinner=False)
def _columns(folder: str, dataset_id: str) -> dict[str, dict[str, str]]:
    return {side: evaluation.usable_columns(table) for side, table in _tables(folder, dataset_id).items()}


def choices(group: Group, side: str) -> dict[str, str]:
    """Key -> label of every way to part the users (or items) of this dataset: the usual two, then the columns of its table."""
    fixed = {key: label for key, label in FIXED.items() if key.startswith(side)}
    return fixed | {f"{side}/column/{column}": column for column in _usable(group, side)}


def _usable(group: Group, side: str) -> dict[str, str]:
    try:
        return _columns(str(state.root()), group.runs[0].dataset_id)[side]
    except WorkbenchError:  # the dataset was deleted, its runs are still there
        return {}


def telling_column(group: Group) -> str | None:
    """The choice to begin with: categories of items, then other columns of a few values."""
    found = [(kind, f"{side}/column/{column}") for side in ("item", "user") for column, kind in _usable(group, side).items()]
    return next((key for wanted in ("multi_valued", "categorical") for kind, key in found if kind == wanted), None)


@st.cache_resource(max_entries=64, show_spinner=False)
def _grouping(folder: str, split_id: str, judge: str, dataset_id: str, key: str) -> Grouping:
    train, holdout = _judged(folder, split_id, judge)
    users = _per_user(folder, judge).index.to_numpy()
    if key == "user/activity":
        seen = holdout.given.matrix("seen") if holdout.given is not None else train.matrix("seen")
        return evaluation.by_activity(np.diff(seen.indptr), users)
    if key == "user/new":
        return evaluation.user_newness(train, users)
    if key == "item/popularity":
        return evaluation.by_item_popularity(train.item_counts)
    if key == "item/new":
        return evaluation.item_newness(train)
    side, _, column = key.split("/", 2)
    n, among = (train.n_users, users) if side == "user" else (train.n_items, None)
    return evaluation.by_column(_tables(folder, dataset_id)[side], column, side, n, among)


def _key(group: Group) -> tuple[str, str, str, str]:
    return str(state.root()), group.split_id, group.runs[0].id, group.runs[0].dataset_id


def grouping_of(group: Group, key: str) -> Grouping:
    return _grouping(*_key(group), key)


def picker(group: Group, side: str, label: str, key: str, first: str | None = None) -> str:
    """A choice of a way to part users or items; kept for the session."""
    options = choices(group, side)
    names = list(options)
    return st.selectbox(
        label,
        names,
        index=names.index(first) if first in names else 0,
        format_func=lambda k: options.get(k, k.rpartition("/")[2]),
        key=key,
        persist_state="session",
        help=f"The columns are those of the {side} table that came with the dataset.",
    )


# ---- figures ---------------------------------------------------------------------------------------
@st.cache_data(max_entries=512, show_spinner=False)
def _by_user_group(folder: str, split_id: str, judge: str, dataset_id: str, key: str, run_id: str, name: str) -> pd.DataFrame:
    return evaluation.by_group(_per_user(folder, run_id), _grouping(folder, split_id, judge, dataset_id, key), name)


def by_user_group(group: Group, run: Any, key: str, name: str) -> pd.DataFrame:
    """Rows group, n_users, mean, low, high, enough; empty for a measure without a value for each user."""
    if name not in _per_user(str(state.root()), run.id):
        return pd.DataFrame()
    return _by_user_group(*_key(group), key, run.id, name)


@st.cache_data(max_entries=512, show_spinner=False)
def _by_item_group(folder: str, split_id: str, judge: str, dataset_id: str, key: str, run_id: str, k: int) -> pd.DataFrame:
    holdout = _judged(folder, split_id, judge)[1]
    return evaluation.by_item_group(_topk(folder, run_id), holdout, _grouping(folder, split_id, judge, dataset_id, key), k)


def by_item_group(group: Group, run: Any, key: str, k: int) -> pd.DataFrame:
    """Rows group, n_items, n_relevant, recall, low, high, share_of_places, enough."""
    return _by_item_group(*_key(group), key, run.id, k)


@st.cache_data(max_entries=512, show_spinner=False)
def _quality(folder: str, split_id: str, judge: str, dataset_id: str, key: str, run_id: str, name: str) -> QualityFairness:
    return evaluation.quality_fairness(_per_user(folder, run_id), _grouping(folder, split_id, judge, dataset_id, key), name)


def quality(group: Group, run: Any, key: str, name: str) -> QualityFairness | None:
    """How evenly groups of users are served; None for a measure without a value for each user."""
    if name not in _per_user(str(state.root()), run.id):
        return None
    return _quality(*_key(group), key, run.id, name)


@st.cache_data(max_entries=512, show_spinner=False)
def _exposure(folder: str, split_id: str, judge: str, dataset_id: str, key: str, run_id: str, k: int) -> ExposureFairness:
    grouping = _grouping(folder, split_id, judge, dataset_id, key)
    return evaluation.exposure_fairness(_topk(folder, run_id), grouping, _judged(folder, split_id, judge)[0].item_counts, k)


def exposure(group: Group, run: Any, key: str, k: int) -> ExposureFairness:
    """How the exposure is shared by groups of items."""
    return _exposure(*_key(group), key, run.id, k)


@st.cache_data(max_entries=64, show_spinner=False)
def _pairs(folder: str, run_ids: tuple[str, ...], name: str) -> list[Difference]:
    frames = {run_id: frame for run_id in run_ids if name in (frame := _per_user(folder, run_id))}
    return evaluation.pairwise(frames, name) if len(frames) > 1 else []


def pairs(runs: Sequence[Any], name: str) -> list[Difference]:
    """Every pair of runs (given best first), B the better one of the two, names are run ids; p-values corrected for all of them."""
    return _pairs(str(state.root()), tuple(run.id for run in runs[::-1]), name)[::-1]


@st.cache_data(max_entries=128, show_spinner=False)
def _verdict(folder: str, split_id: str, judge: str, dataset_id: str, key: str, ids: tuple[str, str], name: str, names: Any) -> Verdict:
    grouping = _grouping(folder, split_id, judge, dataset_id, key)
    return evaluation.verdict(_per_user(folder, ids[0]), _per_user(folder, ids[1]), name, grouping, names=names)


def verdict_of(group: Group, a: Any, b: Any, key: str, name: str) -> Verdict:
    """B against A, over all users and in each group of them."""
    return _verdict(*_key(group), key, (a.id, b.id), name, (a.name, b.name))
