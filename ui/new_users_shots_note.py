"""On the card of a result: whether learning from a few clicks pays on this data, where a comparison on new users has told."""

from __future__ import annotations

from typing import Any

import streamlit as st

from . import navigation, state
from .text import md

KIND = "cold_start"


def pays_line(run: Any) -> None:
    """A sentence and the way to the chart; nothing where no comparison had this result, or it can say nothing of it."""
    sentence = pays_sentence(run)
    if sentence:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/ads_click: {md(sentence)}", width="content")
            navigation.link("new_users", "See how far a few clicks go", dataset=run.dataset_id, tab="How far a few clicks go")


def pays_sentence(run: Any) -> str:
    """What the newest comparison with this result that can tell says of it; "" where none can."""
    for analysis in state.workspace().analyses(KIND, run=run.id):
        own = next((one for one in analysis.result().get("models", ()) if one.get("run") == run.id), {})
        if own.get("pays"):
            return str(own["pays"])
    return ""
