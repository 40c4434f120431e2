"""Home: what is here, and what to do next."""

import streamlit as st

from ui import navigation, state
from ui.components import disk_use, metric_row, page_header
from ui.home_parts import dataset_card, first_steps, manage_results, next_step, sample_button
from ui.jobs import job_list, live_jobs
from ui.text import count, size

workspace = state.workspace()
datasets, runs = workspace.datasets(), workspace.runs()
live = live_jobs()

lead_to = st.session_state.get("_lead_to")
if lead_to and not live_jobs(dataset=lead_to):
    del st.session_state["_lead_to"]
    if any(run.dataset_id == lead_to for run in runs):
        navigation.go("compare", dataset=lead_to)

page_header("Recommender workbench", "Compare recommenders on your own data, look at what they do, export the lists you trust.")

if not datasets:
    first_steps()
else:
    next_step(datasets, runs, live)
    if live:
        st.subheader("Under way", anchor=False)
        job_list("home-jobs", keep=0)
    use = workspace.disk_use()
    metric_row(
        [
            ("Datasets", count(len(datasets)), "Saved, checked interaction data. A dataset never changes once saved."),
            ("Results", count(len(runs)), "Trained and measured recommenders."),
            ("Exports", count(len(workspace.exports())), "Recommendation lists written to a file."),
            ("Disk use", size(use["total"]), "What the workspace folder takes."),
        ]
    )
    st.subheader("Datasets", anchor=False)
    by_dataset = {entry.id: [run for run in runs if run.dataset_id == entry.id] for entry in datasets}
    with st.grid(2, min_column_width=320, gap="medium"):
        for entry in datasets:
            dataset_card(entry, by_dataset[entry.id])
    with st.container(horizontal=True):
        navigation.next_button("Add a dataset", "data", key="add-dataset", primary=False, icon=":material/add:", view="new")
        sample_button()
    if runs:
        manage_results(runs, {entry.id: entry.name for entry in datasets})
    disk_use(use)
