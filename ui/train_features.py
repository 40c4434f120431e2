"""Which columns of the tables a recommender will read: said on Train, and where a result was trained with other ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.data.features import FeatureSet, Guess, guess_schema
from recsys_core.errors import NotFound
from recsys_core.store.feature_sets import current_features, feature_set

from . import navigation, state
from .fusion_findings import RUN
from .fusion_form import is_fused
from .text import count, listing, md

SIDES = ("item", "user")


@st.cache_data(max_entries=16, show_spinner=False)
def guessed(folder: str, dataset_id: str, side: str) -> dict[str, Guess]:
    """What the columns of a saved table are taken for; tables never change."""
    return guess_schema(state.workspace().dataset(dataset_id).table(side))


def columns_read(entry: Any, chosen: FeatureSet, without: Iterable[str] = (), sides: Iterable[str] = SIDES) -> dict[str, list[str]]:
    """side -> columns that give features, those of vector files included; sides that give none are not named."""
    skipped, out = set(without), {}
    for side in (side for side in SIDES if side in tuple(sides)):
        schema = chosen.schema(side, guessed(str(state.root()), entry.id, side))
        own = chosen.columns.get(side, {})
        vectors = [name for name in chosen.vectors.get(side, {}) if name not in own or own[name].kind not in (None, "id")]
        vectors = vectors if "vector" not in skipped else []
        names = [name for name, what in schema.items() if what.kind not in {None, "id", *skipped}] + vectors
        if names:
            out[side] = names
    return out


def reading(entry: Any, model: Any, params: Any = None) -> str:
    """ "Reads 5 item columns and 4 user columns"; "" for models that read none, and for fusions, whose parts may."""
    if not model.reads_features or is_fused(model):
        return ""
    names = _read_by(entry, model, params)
    parts = [count(len(names[side]), f"{side} column") for side in SIDES if side in names]
    return f"Reads {listing(parts)}" if parts else "Reads no columns: there are none, or all are left out"


def all_readings(entry: Any) -> dict[str, str]:
    """Model key -> what it reads, of those that read something."""
    said = {key: reading(entry, model) for key, model in registry.all_of("model").items()}
    return {key: text for key, text in said.items() if text}


def reading_line(entry: Any, model: Any, params: Any = None) -> None:
    """In the settings of a model: which columns, and the way to change them."""
    said = reading(entry, model, params)
    if not said:
        return
    names = _read_by(entry, model, params)
    which = "; ".join(f"{side}s: {listing(names[side], 6)}" for side in SIDES if side in names)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f":material/dataset: {md(f'{said} ({which})' if which else said)}.", width="content")
        navigation.link("data", "Change on Data", dataset=entry.id, view="saved", part="Features")


def trained_otherwise(run: Any) -> str:
    """A sentence where a result was trained with another feature set than the dataset's current one, else ""."""
    entry = run.dataset
    if entry is None or str(run.spec.get("features") or "") == current_features(entry) or not _reads(run):
        return ""
    return "Trained with earlier features: those of the dataset were changed since. Train it again to use them."


def says_of_items(entry: Any) -> bool:
    """Whether any column gives features of items, as the dataset's columns are chosen now."""
    return "item" in columns_read(entry, _chosen(entry), sides=("item",))


def columns_of_items(entry: Any) -> list[str]:
    """Item columns that give features, as the dataset's columns are chosen now."""
    return columns_read(entry, _chosen(entry), sides=("item",)).get("item", [])


def _chosen(entry: Any) -> FeatureSet:
    try:
        return feature_set(entry, current_features(entry))
    except NotFound:  # its file is gone: Data says so
        return FeatureSet()


def _read_by(entry: Any, model: Any, params: Any = None) -> dict[str, list[str]]:
    """params: validated ones; None: the defaults."""
    return columns_read(entry, _chosen(entry), model.unread_kinds(params or model.Params()), model.feature_sides)


def _reads(run: Any) -> bool:
    """Whether a run's model reads features, or, in a fusion, one of its parts does."""
    try:
        model = registry.get("model", run.model_key)
        if not is_fused(model):
            return model.reads_features
        parts = [str(part) for part in run.resolved.get("models") or ()]
        runs = [state.workspace().run(part.removeprefix(RUN)) for part in parts if part.startswith(RUN)]
        keys = [part for part in parts if not part.startswith(RUN)]
        return any(registry.get("model", key).reads_features for key in keys) or any(_reads(one) for one in runs)
    except NotFound:
        return False
