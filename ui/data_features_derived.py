"""The high-level features of a dataset: learnt from the training part, each to be switched off."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.data.features import FeatureSet
from recsys_core.data.features.derived_set import describe

from . import data_features_state as chosen_features
from .components import card
from .errors import action
from .text import md

SIDES = {"user": "Of users, from their history", "item": "Of items"}
ABOUT = (
    "Worked out from the training part alone, never from what is held out. Those of a user come from the history, so that new "
    "users have them after a first click; a new item has none of them yet."
)


def derived_card(entry: Any, chosen: FeatureSet) -> None:
    rows = describe(entry.stats)
    if not rows:
        return
    defaults = [row["key"] for row in rows if row["default"]]
    used = chosen_features.used_derived(chosen, defaults)
    n = sum(row["available"] and row["key"] in used for row in rows)
    with card("High-level features", f"{ABOUT} {n} of {len(rows)} are used.", key="features-derived"):
        for side, title in SIDES.items():
            of_side = [row for row in rows if row["side"] == side]
            if of_side:
                st.markdown(f"**{title}**")
                with st.grid(3, min_column_width=280, gap="small"):
                    for row in of_side:
                        _switch(entry, row, row["key"] in used, defaults)


def _switch(entry: Any, row: dict[str, Any], used: bool, defaults: list[str]) -> None:
    with st.container(gap="xsmall"):
        key = f"derived-{entry.id}-{row['key']}"
        st.session_state[key] = used and row["available"]
        st.toggle(
            md(row["label"]), key=key, disabled=not row["available"], on_change=_switched, args=(entry, row["key"], key, defaults)
        )  # fmt: skip
        said = md(row["help"]) if row["available"] else f":orange[:material/block: {md(row['why_not'])}] {md(row['help'])}"
        st.caption(said)


@action
def _switched(entry: Any, feature: str, key: str, defaults: list[str]) -> None:
    chosen = chosen_features.draft(entry)
    chosen_features.put(entry, chosen_features.with_derived(chosen, feature, bool(st.session_state[key]), defaults))
