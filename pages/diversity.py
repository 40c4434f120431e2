"""Diversity: lists shaped for variety, and what that costs in accuracy."""

import streamlit as st

from ui import state
from ui.components import dataset_picker, empty_state, page_header, run_picker
from ui.diversity_curve import jobs_card, leave_if_applied
from ui.diversity_data import bench
from ui.diversity_work import work
from ui.errors import error_box
from ui.export_choice import best_first
from ui.jobs import job_list, jobs_of

page_header("Diversity", "Shape the lists for variety, and see at once what it costs in accuracy.")
with st.container(horizontal=True):
    with st.container(width="stretch"):
        dataset_id = dataset_picker(need="There are no lists to shape yet: bring in a file first, or try the sample data on Home.")
    if not dataset_id:
        st.stop()
    runs = best_first(state.workspace().runs(dataset_id))
    with st.container(width="stretch"):
        run_id = run_picker(runs, key=f"diversity-run-{dataset_id}", label="Recommender")
if not runs:
    if jobs_of(dataset=dataset_id, kinds=("train",)):
        job_list("diversity-train-jobs", dataset=dataset_id, kinds=("train",), keep=3)
    empty_state("No results yet", "Train a recommender on this dataset first.", "Train recommenders", "train", dataset=dataset_id)
    st.stop()
run = next(run for run in runs if run.id == run_id)
leave_if_applied(run)
try:
    lists = bench(run)
except Exception as error:
    error_box(error)
    st.stop()
work(dataset_id, run, lists)
jobs_card(run)
