"""Data, tab Features: what describes items and users, as models read it; changed here, saved as the set new trainings use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from recsys_core.data.features import FeatureSet
from recsys_core.errors import NotFound

from . import data_features_state as chosen_features
from .data_features_columns import columns_card
from .data_features_data import column_guesses, report_of
from .data_features_derived import derived_card
from .data_features_findings import findings_card
from .data_features_text import text_card
from .data_features_vectors import vectors_card
from .data_features_words import changes
from .errors import action, error_box, guard, notify
from .text import count, md

SIDES = ("item", "user")
MEANS = "Recommenders trained from now on use them; results trained before keep theirs."


def features_tab(entry: Any) -> None:
    """Each card reads the draft and writes its changes into it; the bar at the top saves it."""
    try:
        chosen = chosen_features.draft(entry)
    except NotFound as error:  # its file is gone
        error_box(error)
        st.button("Back to what was guessed", key="features-anew", on_click=chosen_features.begin_anew, args=(entry,))
        return
    guessed = {side: column_guesses(entry, side, chosen) for side in SIDES}
    save_bar(entry, chosen, guessed)
    with guard():
        report = report_of(entry, chosen)
        findings_card(entry, chosen, report, guessed)
        columns_card(entry, chosen, report, guessed)
    with guard():
        derived_card(entry, chosen)
    with guard():
        text_card(entry, chosen, guessed)
    with guard():
        vectors_card(entry, chosen)


def save_bar(entry: Any, chosen: FeatureSet, guessed: dict[str, dict[str, Any]]) -> None:
    """Which set this is, what was changed and not saved yet, and the ways to save it or to go back."""
    changed = chosen_features.is_changed(entry)
    said = changes(entry, chosen_features.saved(entry), chosen, guessed) if changed else []
    with st.container(border=True, key="features-bar"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(_status(chosen, said), width="stretch")
            st.button("Discard changes", key="features-discard", disabled=not changed, on_click=_discard, args=(entry,))
            as_guessed = replace(FeatureSet(), vectors=chosen.vectors)
            about = "Every column and every high-level feature as it was before you changed anything. Vector files stay."
            st.button(
                "Back to what was guessed", key="features-guessed", disabled=chosen == as_guessed, help=about, on_click=_put,
                args=(entry, as_guessed),
            )  # fmt: skip
            st.button(
                "Save features", key="features-save", type="primary", icon=":material/save:", disabled=not changed, on_click=_save,
                args=(entry,),
            )  # fmt: skip
        if changed:
            more = [f"- … and {len(said) - 8} more"] if len(said) > 8 else []
            st.caption("\n".join([f"- {md(one)}" for one in said[:8]] + more))
        if chosen_features.saved_meanwhile(entry):
            st.warning("Other features of this dataset were saved since you began to change these. Saving replaces them.")


def _status(chosen: FeatureSet, said: list[str]) -> str:
    if said:
        not_saved = f":orange[:material/edit:] **{count(len(said), 'change')} not saved.**"
        return f"{not_saved} Once saved, recommenders trained from then on use them."
    if not chosen.id:
        return ":material/auto_awesome: **As guessed.** Change what is wrong; recommenders that read features use what you save."
    return f":green[:material/check_circle:] **Saved.** {MEANS}"


@action
def _save(entry: Any) -> None:
    chosen_features.save(entry)
    notify(f"The features of **{md(entry.name, 60)}** are saved. {MEANS}")


@action
def _discard(entry: Any) -> None:
    chosen_features.drop(entry)


@action
def _put(entry: Any, chosen: FeatureSet) -> None:
    chosen_features.put(entry, chosen)
