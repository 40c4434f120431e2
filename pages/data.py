"""Data: a raw file becomes a checked, saved dataset; what the saved ones are like."""

import streamlit as st

from ui import state, uploads
from ui.components import page_header
from ui.data_mapping import mapping, preview
from ui.data_report import saved_dataset
from ui.data_save import reading_jobs, save_card
from ui.data_source import choose_file, file_card, guess_of, open_upload, reading_options
from ui.errors import error_box

page_header("Data", "Bring in interaction files, check their quality, save them as datasets.")

VIEWS = {"saved": "Saved datasets", "new": "Add a dataset"}
upload = uploads.find(state.current("upload"))
has_saved = bool(state.workspace().datasets())
if not has_saved:
    view = "new"
else:
    state.follow_url("view", "data-view", list(VIEWS), "new" if upload else "saved")
    view = st.segmented_control("Show", list(VIEWS), required=True, format_func=VIEWS.get, key="data-view", label_visibility="collapsed")
    state.remember(view=view)

reading_jobs()
if view == "saved":
    saved_dataset()
elif upload is None:
    choose_file()
else:
    options = reading_options(upload)
    try:
        source = open_upload(upload, **options)
        guess = guess_of(upload, source, **options)
    except Exception as error:
        error_box(error)
        file_card(upload, None)
    else:
        file_card(upload, source)
        plan = mapping(upload, source, guess)
        if plan is not None:
            with st.container(border=True):
                st.subheader("Preview", anchor=False)
                preview(source, plan)
            save_card(upload, source, plan, options)
