"""Inspect: the lists of single users, why each item is there, new users, similar items."""

import streamlit as st

from ui import state
from ui.components import dataset_picker, empty_state, page_header
from ui.errors import guard
from ui.inspect_data import choose
from ui.inspect_new import new_user_tab
from ui.inspect_similar import similar_tab
from ui.inspect_user import user_tab
from ui.jobs import job_list, jobs_of

TABS = {"A user": user_tab, "A new user": new_user_tab, "Similar items": similar_tab}

page_header("Inspect", "Look at the lists of single users, ask why, and try out new ones.")
dataset_id = dataset_picker(need="There is nobody to look at yet: bring in a file first, or try the sample data on Home.")
if not dataset_id:
    st.stop()
runs = state.workspace().runs(dataset_id)
if not any(run.metrics or run.overall for run in runs):
    if jobs_of(dataset=dataset_id, kinds=("train",)):
        job_list("inspect-jobs", dataset=dataset_id, kinds=("train",), keep=3)
    empty_state("No results yet", "Train some recommenders on this dataset first.", "Train recommenders", "train", dataset=dataset_id)
    st.stop()
choice = choose(dataset_id)
if choice is None:
    st.stop()
for tab, draw in zip(st.tabs(list(TABS), key="tab", on_change="rerun", bind="query-params"), TABS.values(), strict=True):
    if tab.open:
        with tab, guard():
            draw(choice)
