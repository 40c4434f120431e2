"""What the page of new users asks the scorer, kept by run and answers: a run never changes, so the same answers get the same lists.

A failure is raised and never kept. Nothing here trains or loads a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound, Unsupported

from . import state
from .export_choice import best_first
from .inspect_items import Names

LENGTH = 10
MAP_ITEMS = 500
MOST_COLOURS = 5
TRAIL = 12  # answers
Told = tuple[tuple[str, bool], ...]  # (item, whether it was liked), oldest first


# ---- recommenders --------------------------------------------------------------------------------------
def usable(dataset_id: str) -> list[Any]:
    """The results of a dataset: those that adapt first, each half best first."""
    runs = best_first([run for run in state.workspace().runs(dataset_id) if run.metrics or run.overall])
    return sorted(runs, key=lambda run: not adapts(run))


def adapts(run: Any) -> bool:
    """Whether it learns from a new user's answers, by gradient steps, instead of only reading them."""
    return bool(getattr(_model(run), "adapts", False))


def personal(run: Any) -> bool:
    return bool(getattr(_model(run), "personalised", True))


def _model(run: Any) -> Any:
    try:
        return registry.get("model", run.model_key)
    except NotFound:  # a plug-in that is not installed here
        return None


# ---- lists ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Listed:
    """One list of one recommender. ms: inside the model. unknown: answered items it was not trained on."""

    items: tuple[str, ...]
    scores: tuple[float, ...]
    unknown: tuple[str, ...]
    ms: float


def scale_of(run_id: str) -> Any:
    """`serving.answers.Scale`: the numbers of a like and a dislike."""
    return _scale(str(state.root()), run_id)


@st.cache_resource(max_entries=64, show_spinner=False)
def _scale(folder: str, run_id: str) -> Any:
    return state._scorer(folder).scale(run_id)


def values_of(run_id: str, told: Told) -> list[float]:
    scale = scale_of(run_id)
    return [scale.like if liked else scale.dislike for _, liked in told]


def listed(run_id: str, told: Told) -> Listed:
    """Raises the error of this run, or of the scorer."""
    return _listed(str(state.root()), run_id, told)


@st.cache_resource(max_entries=400, show_spinner=False)
def _listed(folder: str, run_id: str, told: Told) -> Listed:
    items = [item for item, _ in told]
    answer = state._scorer(folder).recommend_for_history([run_id], [items], LENGTH, values=[values_of(run_id, told)])[run_id]
    if answer.error is not None:
        raise answer.error
    row = answer.rows[0]
    return Listed(row.items, row.scores, row.unknown, answer.model_ms)


def next_question(run_id: str, told: Told, skipped: Sequence[str]) -> tuple[str, float] | None:
    """(item, share of the users who know it), or None when nothing is left to ask."""
    return _question(str(state.root()), run_id, told, tuple(skipped))


@st.cache_resource(max_entries=400, show_spinner=False)
def _question(folder: str, run_id: str, told: Told, skipped: tuple[str, ...]) -> tuple[str, float] | None:
    answers = dict(zip((item for item, _ in told), values_of(run_id, told), strict=True))
    asked = state._scorer(folder).questions(run_id, answers, skipped, 1)
    return (asked.items[0], asked.known[0]) if asked.items else None


# ---- the map -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Plane:
    """The best known items on two axes. groups: of each item, a position in `names`; the last name is "Other"."""

    items: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    titles: tuple[str, ...]
    groups: np.ndarray
    names: tuple[str, ...]
    explained: float


def plane(run_id: str, dataset_id: str, names: Names) -> Plane:
    """Raises Unsupported, in a sentence, where a model has no vectors."""
    found = _plane(str(state.root()), run_id, dataset_id, names)
    if isinstance(found, Unsupported):
        raise found
    return found


@st.cache_resource(max_entries=12, show_spinner=False)
def _plane(folder: str, run_id: str, dataset_id: str, _names: Names) -> Plane | Unsupported:
    try:
        found = state._scorer(folder).item_map(run_id, MAP_ITEMS)
    except Unsupported as error:  # it stays so: kept, not asked again after every answer
        return error
    first = np.array([_names.categories(item).split(",")[0].strip() for item in found.items], dtype=object)
    groups, labels = grouped(first)
    return Plane(found.items, found.x, found.y, tuple(_names.titles(found.items)), groups, labels, found.explained)


def grouped(first: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """(position of each item's group, names of the groups): the most frequent main categories, the rest and the unknown together."""
    kinds, counts = np.unique(first[first != ""].astype(str), return_counts=True)
    top = kinds[np.argsort(-counts, kind="stable")][:MOST_COLOURS]
    if len(top) < 2:  # one colour for all says nothing
        return np.zeros(len(first), dtype=np.int64), ("Items",)
    place = {name: n for n, name in enumerate(top.tolist())}
    return np.array([place.get(name, len(top)) for name in first], dtype=np.int64), (*top.tolist(), "Other")


def points_of(run_id: str, items: Sequence[str], known: Plane) -> dict[str, tuple[float, float]]:
    """Item -> point; items off the map are asked for, those the run does not know are left out."""
    points = dict(zip(known.items, zip(known.x, known.y, strict=True), strict=True))
    missing = tuple(item for item in items if item not in points)
    points |= _points(str(state.root()), run_id, missing) if missing else {}
    return {item: points[item] for item in items if item in points}


@st.cache_resource(max_entries=200, show_spinner=False)
def _points(folder: str, run_id: str, items: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    found = state._scorer(folder).item_map(run_id, 1, history=items)
    return dict(zip(found.items, zip(found.x, found.y, strict=True), strict=True))


def trail(run_id: str, told: Told) -> dict[int, tuple[float, float]]:
    """Number of answers -> where the user was then: before the first, and after each of the last ones."""
    steps = [0, *range(max(1, len(told) + 1 - TRAIL), len(told) + 1)]
    return {n: _place(str(state.root()), run_id, told[:n]) for n in steps}


@st.cache_resource(max_entries=600, show_spinner=False)
def _place(folder: str, run_id: str, told: Told) -> tuple[float, float]:
    path = state._scorer(folder).user_path(run_id, [item for item, _ in told], values_of(run_id, told))
    return path.x[-1], path.y[-1]
