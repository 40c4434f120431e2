"""A/B test: plan one, read its result, and what can be said before one is run."""

import streamlit as st

from ui.ab_log import log_tab
from ui.ab_plan import plan_tab
from ui.ab_read import read_tab
from ui.ab_runs import interleave_tab
from ui.components import page_header
from ui.errors import guard

TABS = {"Plan a test": plan_tab, "Read a result": read_tab, "Two recommenders in one list": interleave_tab, "Estimate from a log": log_tab}

page_header("A/B test", "Try recommenders on real users: how many it takes, and what came out.")
for tab, draw in zip(st.tabs(list(TABS), key="ab-tab", on_change="rerun", bind="query-params"), TABS.values(), strict=True):
    if tab.open:
        with tab, guard():
            draw()
