"""Train: choose recommenders and settings, train them, follow the jobs."""

import streamlit as st

from ui import navigation, state
from ui.components import dataset_picker, page_header
from ui.jobs import job_list, live_jobs
from ui.text import count
from ui.train_features import all_readings
from ui.train_models import clear_choice, model_cards, offers, picked_by_link
from ui.train_protocol import protocol_form
from ui.train_settings import settings_forms
from ui.train_submit import parallel_setting, say_queued, sensible_card, train_bar, under_way

page_header("Train", "Choose recommenders, train them on one part of the data, measure them on the rest.")
say_queued()
dataset_id = dataset_picker(need="Training needs data: bring in a file first, or try the sample data on Home.")
if dataset_id:
    workspace = state.workspace()
    entry = workspace.dataset(dataset_id)
    runs = workspace.runs(dataset_id)
    under_way(len(live_jobs(dataset=dataset_id)))
    protocol = protocol_form(entry)
    partners = [run for run in runs if protocol and run.split_id == protocol.split_id]
    rows = offers(entry.id, protocol.n_folds if protocol else 1, entry.stats)
    picked_by_link(rows)
    sensible_card(entry, protocol, rows)

    with st.container(border=True, key="models"):
        st.subheader("Choose recommenders", anchor=False)
        st.caption("Time and memory are estimates for this dataset with the default settings.")
        chosen = model_cards(rows, all_readings(entry))

    if chosen:
        with st.container(border=True, key="settings"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.subheader("Settings", anchor="settings", width="stretch")
                st.button("Clear choice", key="clear-choice", type="tertiary", on_click=clear_choice, args=(rows,))
            settings = settings_forms(chosen, rows, entry, partners, protocol.n_folds if protocol else 1)
    else:
        settings = []
    train_bar(protocol, settings, rows)

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader("Jobs", anchor="jobs", width="stretch")
        if runs:
            ids = [run.id for run in partners or runs]
            navigation.link("compare", f"Compare {count(len(ids), 'result')}", icon=":material/leaderboard:", dataset=dataset_id, runs=ids)
        parallel_setting()
    job_list("train-jobs", dataset=dataset_id, empty="No jobs yet. What you train shows up here.")
