"""Live: a recommender that answers now. Try it click by click, see whether learning online helps, watch how it does."""

import streamlit as st

from ui import state
from ui.components import dataset_picker, empty_state, page_header, run_picker
from ui.errors import guard
from ui.export_choice import best_first
from ui.jobs import job_list, jobs_of
from ui.live_health import health_tab
from ui.live_replay import replay_tab
from ui.live_try import try_tab

TABS = {"Try it": try_tab, "Does learning online help?": replay_tab, "Health": health_tab}

page_header("Live", "From a click to a changed list: start a service, try it, see how it does.")
with st.container(horizontal=True):
    with st.container(width="stretch"):
        dataset_id = dataset_picker(need="There is nothing to serve yet: bring in a file first, or try the sample data on Home.")
    if not dataset_id:
        st.stop()
    runs = best_first(state.workspace().runs(dataset_id))
    with st.container(width="stretch"):
        run_id = run_picker(runs, key=f"live-run-{dataset_id}", label="Recommender")
if not runs:
    if jobs_of(dataset=dataset_id, kinds=("train",)):
        job_list("live-train-jobs", dataset=dataset_id, kinds=("train",), keep=3)
    empty_state("No results yet", "Train a recommender on this dataset first.", "Train recommenders", "train", dataset=dataset_id)
    st.stop()
run = next(run for run in runs if run.id == run_id)
for (_, draw), tab in zip(TABS.items(), st.tabs(list(TABS), key="tab", on_change="rerun", bind="query-params"), strict=True):
    if tab.open:
        with tab, guard():
            draw(dataset_id, run)
