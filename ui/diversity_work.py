"""The Diversity page below its pickers: one fragment, so that a move of the slider redraws only this."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from .diversity_controls import controls
from .diversity_curve import curve_card, methods_card, points_of, provenance
from .diversity_data import Bench
from .diversity_lists import users_card
from .errors import error_box, guarded


def work(dataset_id: str, run: Any, of: Bench) -> None:
    """Controls, curve, three users, all methods."""

    @st.fragment(key="diversity-work")
    @guarded
    def draw() -> None:
        left, right = st.columns([2, 3], gap="medium")
        with left, st.container(border=True, key="diversity-controls"):
            choice = controls(dataset_id, of)
            if choice is None:
                return
            try:
                points, kept = points_of(of, choice)
            except WorkbenchError as error:  # of the settings on this data: beside the controls that mend it
                with right:
                    error_box(error)
                return
            provenance(run, of, choice, kept)
        with right:
            curve_card(run, of, choice, points)
        users_card(dataset_id, of, choice)
        methods_card(run, of, choice)

    draw()
