"""Settings of models that can start from a model of another dataset: which one, and what is shared, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.params import fields

from . import state
from .text import listing, md
from .train_features import columns_of_items

RUN = "run:"
HELP = (
    "A model that adapts, trained on another dataset whose item columns have the same names: what they mean for tastes is taken over, "
    "ids are not. It can pay where this dataset has few users and its columns say much of what is liked."
)


def can_start(model: Any) -> bool:
    """Whether it has the settings."""
    return any(field.name == "start_from" for field in fields(model.Params))


def sources(entry: Any) -> dict[str, tuple[Any, list[str]]]:
    """Run id -> (run of another dataset to start from, item columns shared with this one), newest first."""
    own, found, theirs = set(columns_of_items(entry)), {}, {}
    for run in state.workspace().runs():
        if run.dataset is None or run.dataset.id == entry.id:
            continue
        try:
            model = registry.get("model", run.model_key)
        except NotFound:
            continue
        if not model.adapts or not can_start(model):
            continue
        if run.dataset.id not in theirs:
            theirs[run.dataset.id] = columns_of_items(run.dataset)
        shared = [name for name in theirs[run.dataset.id] if name in own]
        if shared:
            found[run.id] = (run, shared)
    return found


def start_form(entry: Any, model: Any, filled: Mapping[str, Any]) -> dict[str, Any]:
    """Values of `start_from` and `as_it_is`. filled: what the form starts from."""
    nothing = {"start_from": "", "as_it_is": False}
    found = sources(entry)
    if not found:
        return nothing
    before = str(filled.get("start_from") or "").removeprefix(RUN)
    options = ["", *found]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen = st.selectbox(
            "Start from",
            options,
            index=options.index(before) if before in found else 0,
            format_func=lambda i: (
                f"{found[i][0].name} ({found[i][0].dataset.name})" if i in found else "Nothing: learn from this dataset alone"
            ),
            key=f"start-{model.key}",
            help=HELP,
            persist_state="session",
        )
        if not chosen:
            return nothing
        as_it_is = st.segmented_control(
            "And then",
            [False, True],
            default=bool(filled.get("as_it_is")),
            required=True,
            format_func=lambda as_is: "Take it as it is" if as_is else "Train on here",
            key=f"start-as-it-is-{model.key}",
            persist_state="session",
        )
    st.caption(f":material/move_down: Shared columns: {md(listing(found[chosen][1], 8))}. Its sizes are taken over too.")
    return {"start_from": f"{RUN}{chosen}", "as_it_is": bool(as_it_is)}
