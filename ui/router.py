"""The entry script Streamlit runs on every interaction: page frame, navigation, the chosen page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui import navigation
from ui.errors import guard, show_notices

LOGO, ICON = (Path(__file__).with_name(name) for name in ("logo.svg", "icon.svg"))

# The icon is a file of ours: one by name would be asked of a server far away, on every page.
st.set_page_config(page_title="Recommender workbench", page_icon=str(ICON), layout="wide", initial_sidebar_state="collapsed")
st.logo(LOGO, size="medium")
chosen = st.navigation(navigation.pages(), position="top")
with st.container(horizontal_alignment="center"), st.container(width=1240, key="page"), guard():
    show_notices()
    chosen.run()
