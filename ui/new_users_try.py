"""The tab "Try it": get to know somebody by a few answers and watch the lists follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from . import navigation, state
from . import new_users_state as answers_state
from .components import empty_state
from .errors import guarded, show_notices
from .inspect_items import item_names
from .jobs import job_list, jobs_of
from .new_users_ask import answers_card, ask_card
from .new_users_data import adapts, personal, usable
from .new_users_lists import lists_card
from .new_users_map import map_card
from .new_users_personas import personas_card
from .new_users_shots_set import META_FIRST
from .new_users_state import told
from .text import md
from .train_models import first_fitting

MOST_BESIDE = 2


def try_tab(dataset_id: str) -> None:
    """The whole tab; says what is missing where nothing is trained yet."""
    answers_state.start_anew_on_another(dataset_id)
    runs = usable(dataset_id)
    if runs:
        panel(dataset_id, choose(dataset_id, runs))
        return
    if jobs_of(dataset=dataset_id, kinds=("train",)):
        job_list("new-users-jobs", dataset=dataset_id, kinds=("train",), keep=3)
    empty_state("No recommenders yet", "Train some on this dataset first.", "Train recommenders", "train", dataset=dataset_id)


def choose(dataset_id: str, runs: Sequence[Any]) -> list[Any]:
    """The recommender to try, then those beside it; kept in the URL as `run` and `beside`."""
    first = [run for run in runs if adapts(run)] or [run for run in runs if personal(run)] or runs
    names = {run.id: run.name for run in runs}
    asked = st.query_params.get("run")
    with st.container(border=True, key="new-users-choice"):
        if asked and not state.workspace().has_run(asked):
            st.info("The recommender of this link was deleted; another one is shown.", icon=":material/info:")
        left, right = st.columns(2, gap="medium")
        with left:
            key = f"new-users-run-{dataset_id}"
            state.follow_url("run", key, [run.id for run in first], first[0].id)
            main = st.selectbox("Recommender", [run.id for run in first], format_func=lambda i: names.get(i, i), key=key)
            state.remember(run=main)
        with right:
            beside = _beside([run for run in runs if run.id != main], names, f"new-users-beside-{dataset_id}")
        if not adapts(first[0]):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                text = "These take the answers in without learning from them. A meta-learning recommender adapts itself to every new user."
                st.caption(text, width="stretch")
                one = first_fitting(META_FIRST, state.workspace().dataset(dataset_id).stats)
                navigation.link("train", "Train one", icon=":material/model_training:", dataset=dataset_id, model=one)
    by_id = {run.id: run for run in runs}
    return [by_id[run_id] for run_id in (main, *beside)]


def _beside(runs: Sequence[Any], names: dict[str, str], key: str) -> list[str]:
    """Up to two; at first the best that differs. A link decides when it changed."""
    ids = [run.id for run in runs]
    wanted, seen = state.current_list("beside", ids)[:MOST_BESIDE], f"_seen_{key}"
    if key not in st.session_state:
        st.session_state[key] = wanted or [run.id for run in runs if personal(run) and not adapts(run)][:1]
    elif wanted and wanted != st.session_state.get(seen):
        st.session_state[key] = wanted
    st.session_state[key] = [run_id for run_id in st.session_state[key] if run_id in ids]
    chosen = st.multiselect(
        "Beside it", ids, format_func=lambda i: names.get(i, i), key=key, max_selections=MOST_BESIDE, placeholder="Up to two, to compare",
        help="Their lists for the same answers stand beside the first.",
    )  # fmt: skip
    st.session_state[seen] = list(chosen)
    state.remember(beside=chosen)
    return chosen


def panel(dataset_id: str, runs: Sequence[Any]) -> None:
    """All that answers change, and nothing else, is drawn again after a click."""

    @st.fragment(key="new-users-panel")
    @guarded
    def draw() -> None:
        show_notices()
        names = item_names(dataset_id)
        answers = answers_state.read(names)
        if not _ready(runs):
            return
        left, right = st.columns([5, 8], gap="medium")
        with left:
            ask_card(runs[0], names, answers)
            answers_card(names, answers)
        with right:
            shown = lists_card(runs, names, told(answers))
        left, right = st.columns([5, 8], gap="medium")
        with left:
            personas_card(dataset_id, runs, names, answers, shown)
        with right:
            map_card(dataset_id, shown, runs, names, told(answers))

    draw()


def _ready(runs: Sequence[Any]) -> bool:
    """Whether the scorer is there; the models are in its memory then."""
    try:
        with st.spinner("Loading the models …", show_time=False):
            state.scorer().warm([run.id for run in runs])
        return True
    except WorkbenchError as error:
        st.error(f"**{md(error.message)}** {md(error.hint)}", icon=":material/error:")
        st.button("Try again", key="ask-again", icon=":material/replay:")
        return False
