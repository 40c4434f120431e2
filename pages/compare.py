"""Compare: which recommender is best on this data, and at what."""

import streamlit as st

from recsys_core.evaluation import card_facts
from ui import state
from ui.compare_charts import looks
from ui.compare_choice import choice_card
from ui.compare_data import differences_to, groups_of
from ui.compare_run import run_card
from ui.compare_table import download_table, headline, leaderboard, show_table
from ui.compare_tabs import tabs
from ui.compare_views import View
from ui.components import dataset_picker, empty_state, page_header, protocol_card
from ui.jobs import job_list, live_jobs
from ui.report import download_report

page_header("Compare", "Which recommender is best on your data, and at what.")
dataset_id = dataset_picker(need="There is nothing to compare yet: bring in a file first, or try the sample data on Home.")
if not dataset_id:
    st.stop()
all_runs = state.workspace().runs(dataset_id)
groups = {group.split_id: group for group in groups_of(all_runs)}
live = live_jobs(dataset=dataset_id, kinds=("train",))
if live and not groups:
    st.subheader("Training under way", anchor=False)
    job_list("compare-jobs", dataset=dataset_id, kinds=("train",), keep=0)
    st.stop()
if not groups:
    empty_state("No results yet", "Train some recommenders on this dataset first.", "Train recommenders", "train", dataset=dataset_id)
    st.stop()
choice = choice_card(groups)
if choice is None:
    st.stop()

group, runs, name, baseline = choice.group, choice.runs, choice.name, choice.baseline
found = differences_to(runs, baseline, name)
with st.container(border=True, key="leaderboard"):
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Leaderboard", anchor=False, width="stretch")
        download_table(runs, name, baseline, found, key="download-table")
        download_report(group, runs, name, baseline, key="download-report")
    st.markdown(headline(runs, name, baseline, found))
    show_table(leaderboard(runs, name, baseline, found), name, baseline, key=f"table-{name}-{len(runs)}-{runs[0].id}")
    card = runs[0].card()
    if card:
        protocol_card(card_facts(card), card.get("notes", []))
with st.container(border=True, key="charts"):
    looking = looks({run.id: run.name for run in runs}, {run.id: group.position(run.id) for run in group.runs})
    tabs(View(group, runs, looking, name, baseline, all_runs))
run_card(runs)
if live:  # at the end, so that nothing moves when a job ends
    st.subheader("Training under way", anchor=False)
    job_list("compare-jobs", dataset=dataset_id, kinds=("train",), keep=0)
