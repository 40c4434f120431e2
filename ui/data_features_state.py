"""What an analyst is about to change of a dataset's features: kept for the session, a dataset each, until it is saved or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from recsys_core.data.features import FeatureSet, Guess
from recsys_core.store.feature_sets import current_features, feature_set, save_feature_set

LEFT_OUT = "You left it out."
GIVES_NOTHING = (None, "id")  # kinds of columns without features


def saved(entry: Any) -> FeatureSet:
    """The set new trainings use now."""
    return feature_set(entry, current_features(entry))


def draft(entry: Any) -> FeatureSet:
    """The set as it stands on the page; the saved one where nothing was changed."""
    held = st.session_state.get(_key(entry))
    return saved(entry) if held is None else FeatureSet.from_json(held["set"])


def put(entry: Any, chosen: FeatureSet, *, anew: bool = True) -> None:
    """Hold a changed set; what equals the saved one is no change. anew: forms drawn from it begin again with its values."""
    if anew:
        _next_turn(entry)
    if chosen == saved(entry):
        st.session_state.pop(_key(entry), None)
    else:
        began = (st.session_state.get(_key(entry)) or {}).get("began", current_features(entry))
        st.session_state[_key(entry)] = {"set": chosen.to_json(), "began": began}


def drop(entry: Any) -> None:
    """Back to what is saved."""
    _next_turn(entry)
    st.session_state.pop(_key(entry), None)


def turn(entry: Any) -> str:
    """Part of the keys of forms: another one where they have to begin anew, as after "Discard changes"."""
    return f"{st.session_state.get(f'_features_turn_{entry.id}', 0)}-{current_features(entry)}"


def _next_turn(entry: Any) -> None:
    key = f"_features_turn_{entry.id}"
    st.session_state[key] = st.session_state.get(key, 0) + 1


def is_changed(entry: Any) -> bool:
    return _key(entry) in st.session_state and draft(entry) != saved(entry)


def saved_meanwhile(entry: Any) -> bool:
    """Whether somebody else saved another set since these changes were begun."""
    held = st.session_state.get(_key(entry))
    return held is not None and held["began"] != current_features(entry)


def save(entry: Any) -> str:
    """Make the draft the current set; its id."""
    features = save_feature_set(entry, draft(entry))
    drop(entry)
    return features


def begin_anew(entry: Any) -> None:
    """Everything as guessed, saved: where the saved set cannot be read any more."""
    save_feature_set(entry, FeatureSet())
    drop(entry)


# ---- single changes ------------------------------------------------------------------------------
def with_columns(chosen: FeatureSet, side: str, what: Mapping[str, Guess], guessed: Mapping[str, Guess]) -> FeatureSet:
    """The set with some columns of a side taken for something else; what equals the guess is not kept as a choice."""
    of_side = dict(chosen.columns.get(side, {})) | dict(what)
    of_side = {name: one for name, one in of_side.items() if not same(one, guessed.get(name))}
    columns = {name: value for name, value in (chosen.columns | {side: of_side}).items() if value}
    return replace(chosen, columns=columns)


def same(one: Guess, other: Guess | None) -> bool:
    """Whether it reads the column as `other` does; settings it does not name are those of `other`, reasons do not count."""
    settings = (other.settings if other else None) or {}
    return other is not None and one.kind == other.kind and settings | (one.settings or {}) == settings


def switched(what: Guess, guessed: Guess, on: bool) -> Guess:
    """The column used again as it was guessed, or else as categories; or left out."""
    if not on:
        return Guess(None, LEFT_OUT)
    return next((one for one in (what, guessed) if is_used(one)), Guess("categorical"))


def is_used(what: Guess) -> bool:
    """Whether the column gives features."""
    return what.kind not in GIVES_NOTHING


def with_derived(chosen: FeatureSet, key: str, on: bool, defaults: Iterable[str]) -> FeatureSet:
    """The set with a high-level feature switched; the defaults are kept as "not chosen"."""
    start = set(defaults)
    used = set(start if chosen.derived is None else chosen.derived)
    used = used | {key} if on else used - {key}
    return replace(chosen, derived=None if used == start else tuple(sorted(used)))


def used_derived(chosen: FeatureSet, defaults: Iterable[str]) -> set[str]:
    return set(defaults if chosen.derived is None else chosen.derived)


def _key(entry: Any) -> str:
    return f"_features_{entry.id}"
