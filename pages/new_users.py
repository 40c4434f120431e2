"""New users: somebody nobody knows yet. Ask them a few things and watch the lists follow; how far a few clicks go."""

from importlib import import_module
from importlib.util import find_spec

import streamlit as st

from ui import state
from ui.components import dataset_picker, page_header
from ui.errors import guard
from ui.new_users_try import try_tab

# Tabs beside the first: title -> the module of ui that draws it, by `draw(workspace, dataset_entry)`.
MORE = {"How far a few clicks go": "new_users_shots", "From other data": "new_users_transfer"}

page_header("New users", "Somebody nobody knows yet: ask a few questions and watch the lists follow.")
dataset_id = dataset_picker(need="There is nothing to recommend yet: bring in a file first, or try the sample data on Home.")
if not dataset_id:
    st.stop()
titles = ["Try it", *(title for title, module in MORE.items() if find_spec(f"ui.{module}"))]
for title, tab in zip(titles, st.tabs(titles, key="tab", on_change="rerun", bind="query-params"), strict=True):
    if tab.open:
        with tab, guard():
            if title in MORE:
                workspace = state.workspace()
                import_module(f"ui.{MORE[title]}").draw(workspace, workspace.dataset(dataset_id))
            else:
                try_tab(dataset_id)
