"""Tune: search for better settings of a recommender, follow the search, use the best."""

import streamlit as st

from ui import state
from ui.components import dataset_picker, page_header
from ui.tune_choice import NEW, search_picker
from ui.tune_setup import setup
from ui.tune_study import study_view

page_header("Tune", "Search for better settings of a recommender, then train with the best.")
dataset_id = dataset_picker(need="Tuning needs data: bring in a file first, or try the sample data on Home.")
if not dataset_id:
    st.stop()
workspace = state.workspace()
chosen = search_picker(dataset_id)
if chosen == NEW:
    setup(workspace.dataset(dataset_id), workspace.runs(dataset_id))
else:
    study_view(chosen)
