"""Which search the Tune page is about: one of those that are there, or a new one; kept in the URL."""

from __future__ import annotations

from typing import Any

import streamlit as st

from . import state
from .components import confirm_delete, rename_dialog
from .jobs import jobs_of
from .text import short

NEW = "new"
KEY = "tune-search"
LONG = 80


def search_picker(dataset_id: str) -> str:
    """The id of the chosen study, or NEW. Draws nothing where there is no study yet."""
    studies = {study.id: study for study in state.workspace().studies(dataset_id)}
    names = {study.id: study.name for study in studies.values()}
    for job in jobs_of(dataset_id, kinds=("tune",)):  # one that waits, or failed before it could write anything
        if job.id not in names and job.state != "done":
            names = {job.id: job.title} | names
    if not names:
        state.remember(study=None)
        return NEW
    options = [*names, NEW]
    state.follow_url("study", KEY, options, options[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Search",
            options,
            format_func=lambda i: "New search" if i == NEW else short(names.get(i, i), LONG),
            key=KEY,
            help="Searches for settings on this dataset, newest first.",
            width=720,  # on a phone the buttons then go below it
        )
        if chosen != NEW:
            st.button("New search", key="tune-new", icon=":material/add:", on_click=_new)
        if chosen in studies:
            _menu(studies[chosen])
    state.remember(study=chosen)
    return chosen


def _menu(study: Any) -> None:
    asked = st.menu_button("More", ["Rename", "Delete"], key=f"tune-more-{study.id}", help="Rename or delete this search")
    if asked == "Rename":
        rename_dialog("search", study.name, lambda new: state.workspace().rename(study.id, new))
    elif asked == "Delete":
        confirm_delete("search", study.name, state.workspace().dependents(study.id), lambda: _delete(study.id))


def _delete(study_id: str) -> None:
    state.workspace().delete(study_id, with_dependents=True)
    state.remember(study=None)


def _new() -> None:
    state.remember(study=NEW)
