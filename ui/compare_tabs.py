"""The tabs of the Compare page, one a question; only the open one is drawn."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from . import (
    compare_ablation,
    compare_fairness,
    compare_parts,
    compare_robustness,
    compare_segments,
    compare_stability,
    compare_verdicts,
    compare_views,
)
from .compare_views import View
from .errors import guard

TABS: dict[str, Callable[[View], None]] = {
    "List length": compare_views.list_length,
    "Verdicts": compare_verdicts.verdicts,
    "Stability": compare_stability.stability,
    "Beyond accuracy": compare_views.beyond_accuracy,
    "For whom": compare_segments.for_whom,
    "New items and users": compare_parts.new_parts,
    "Fairness": compare_fairness.fairness,
    "Exposure": compare_views.exposed,
    "Overlap": compare_views.overlapping,
    "Robustness": compare_robustness.robustness,
    "Architecture": compare_ablation.architecture,
    "Training": compare_views.training,
    "Time and memory": compare_views.cost,
}


def tabs(view: View) -> None:
    for tab, draw in zip(st.tabs(list(TABS), key="chart", on_change="rerun", bind="query-params"), TABS.values(), strict=True):
        if tab.open:
            with tab, guard():
                draw(view)
