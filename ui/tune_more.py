"""A larger budget for a search that has ended."""

from __future__ import annotations

import streamlit as st

from recsys_core.jobs.tune_spec import TuneSpec

from . import state
from .errors import action
from .text import count
from .tune_data import View, state_of

MORE = 20


def more_bar(view: View) -> None:
    """So many more trials, of the same search: it goes on with what is there."""
    if view.n_combinations and len(view.complete) >= view.n_combinations:
        st.caption(f"All {count(view.n_combinations, 'combination')} of the grid were tried.")
        return
    key = f"tune-more-trials-{view.id}"
    with st.container(horizontal=True, vertical_alignment="bottom", key="tune-more-bar"):
        st.number_input("More trials", 1, 10_000, MORE, key=key, width=140)
        st.button(
            "Search on",
            key=f"{key}-go",
            icon=":material/resume:",
            on_click=_search_on,
            args=(view, key),
            help="Goes on with the trials that are there.",
        )


@action
def _search_on(view: View, key: str) -> None:
    more = int(st.session_state.get(key) or MORE)
    state.queue().submit(larger(view, more).job())


def larger(view: View, more: int) -> TuneSpec:
    """The same study with room for so many more trials than it has."""
    there = sum(state_of(trial) != "again" for trial in view.trials)  # what was cut off takes nothing from the budget
    return TuneSpec.make(**(dict(view.spec) | {"n_trials": there + more, "minutes": 0.0, "name": view.name}))
