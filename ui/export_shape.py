"""Shaping exported lists: which re-ranking method, with which settings."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.params import fields
from recsys_core.rerank._base import DEPTH, Shelf

from . import navigation, state
from .components import card
from .diversity_data import methods
from .forms import checked, params_form
from .shape_form import shape_form
from .text import md

APPLIED = "_shape"  # what Diversity handed over: {"method", "params", "turn"}
KEY = "export-shape"
NONE = "None: the lists as the model makes them"


def apply_shape(run_id: str, method: str, params: dict[str, Any], k: int) -> None:
    """Hand a choice and the length of the lists over to the Export page; its preview opens with them."""
    turn = st.session_state.get(APPLIED, {}).get("turn", 0) + 1
    st.session_state[APPLIED] = {"method": method, "params": params, "turn": turn}
    st.session_state["export-k"] = k
    st.session_state[f"_preview_{run_id}"] = True


def shape_card(dataset_id: str, run: Any) -> tuple[bool, dict[str, Any] | None]:
    """(whether the settings are right, what ExportRequest.rerank takes or None for the lists as they are)."""
    found, applied = methods(), st.session_state.get(APPLIED) or {}
    if applied and st.session_state.get("_shape_seen") != applied["turn"]:
        st.session_state["_shape_seen"] = applied["turn"]
        st.session_state[KEY] = applied["method"]
    with card("Shape the lists"):
        st.session_state.setdefault(KEY, "")
        key = st.selectbox(
            "Method", ["", *found], format_func=lambda i: found[i].label if i in found else NONE, key=KEY, persist_state="session",
            help=f"Each list is chosen anew from the {DEPTH} best items of the model. The page Diversity shows what that gives and costs.",
        )  # fmt: skip
        if key not in found:
            return True, None
        method = found[key]
        st.caption(md(method.summary))
        why = _why_not(str(state.root()), dataset_id, key)
        if why:
            st.warning(f"It cannot be used here: {md(why)}", icon=":material/warning:")
            return False, None
        start = applied.get("params") if applied.get("method") == key else None
        turn = f"{KEY}-{key}-{applied.get('turn', 0)}"  # applied anew, the form starts anew
        values = shape_form(method, turn, dataset_id, start)
        if method.has_strength():
            field = next(field for field in fields(method.Params) if field.name == "strength")
            values |= params_form([field], turn, values=start)
        params = checked(method.Params, values, method.label)
        navigation.link(
            "diversity", "See what it gives and costs", icon=navigation.PAGES["diversity"][1], dataset=dataset_id, run=run.id, method=key
        )
    if params is None:
        return False, None
    return True, {"method": key, "params": params.model_dump(mode="json"), "depth": DEPTH}


@st.cache_resource(max_entries=64, show_spinner=False)
def _why_not(folder: str, dataset_id: str, method: str) -> str:
    return methods()[method].why_not(Shelf(state.dataset(dataset_id)))
