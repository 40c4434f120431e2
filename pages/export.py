"""Export: lists of a trained recommender as a file, for chosen users and items, or the recommender itself as a bundle for real time."""

import streamlit as st

from ui import state
from ui.bundle_files import bundles_card
from ui.bundle_form import bundle_form
from ui.components import dataset_picker, empty_state, page_header, run_picker
from ui.errors import error_box
from ui.export_choice import best_first, figure, request_form
from ui.export_files import exports_card, preview_card
from ui.jobs import job_list, jobs_of
from ui.text import ago, md

WAYS = {"lists": "Lists as a file", "bundle": "A bundle for real time"}

page_header("Export", "Download recommendations for your users, or the recommender itself, to answer on the spot.")
dataset_id = dataset_picker(need="There is nothing to export yet: bring in a file first, or try the sample data on Home.")
if not dataset_id:
    st.stop()
runs = state.workspace().runs(dataset_id)
if not runs:
    if jobs_of(dataset=dataset_id, kinds=("train",)):
        job_list("export-train-jobs", dataset=dataset_id, kinds=("train",), keep=3)
    empty_state("No results yet", "Train a recommender on this dataset first.", "Train recommenders", "train", dataset=dataset_id)
    st.stop()
runs = best_first(runs)
run_id = run_picker(runs, key=f"export-run-{dataset_id}", label="Recommender")
run = next(run for run in runs if run.id == run_id)
facts = [str(run.manifest.get("label", run.model_key)), f"trained {ago(run.created)}", figure(run)]
st.caption(md(" · ".join(fact for fact in facts if fact)))
state.follow_url("way", "export-way", list(WAYS), "lists")
about = "Lists are made now, for users you know. A bundle answers later, also for what happened since."
way = st.segmented_control("What you need", list(WAYS), format_func=WAYS.get, key="export-way", required=True, help=about)
state.remember(way=way)
if way == "bundle":
    bundle_form(dataset_id, run)
    if jobs_of(dataset=dataset_id, kinds=("bundle",)):
        job_list("bundle-jobs", dataset=dataset_id, kinds=("bundle",), keep=2)
    bundles_card(runs, run.id)
    st.stop()
try:
    request = request_form(dataset_id, run)
except Exception as error:
    error_box(error)
    request = None
if request is not None:
    preview_card(dataset_id, run, request)
if jobs_of(dataset=dataset_id, kinds=("export",)):
    st.subheader("Jobs", anchor=False)
    job_list("export-jobs", dataset=dataset_id, kinds=("export",), keep=2)
exports_card(runs)
