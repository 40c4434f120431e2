"""Text on the Features tab: which encoders there are, what they need, and the cache of vectors."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.data.features import FeatureSet, Guess
from recsys_core.errors import BadInput
from recsys_core.store.files import size_bytes

from . import state
from .components import card
from .errors import action, notify
from .text import listing, md, size

SIDES = ("item", "user")
DEFAULT = "tfidf_svd"  # always there
ABOUT = "Texts become numbers when a recommender that reads them is first trained; they are kept, so later trainings are faster."


def encoders() -> dict[str, Any]:
    """Those always there first."""
    return dict(sorted(registry.all_of("text_encoder").items(), key=lambda pair: pair[1].pretrained))


def text_card(entry: Any, chosen: FeatureSet, guessed: dict[str, dict[str, Guess]]) -> None:
    """Drawn where a column is text, or could be; the encoder of a column is chosen with the column."""
    used: dict[str, list[str]] = {}
    for side in SIDES:
        for name, what in chosen.schema(side, guessed[side]).items():
            if what.kind == "text":
                used.setdefault((what.settings or {}).get("encoder", DEFAULT), []).append(f"{name} ({side})")
    if not used:
        return
    with card("Text", ABOUT, key="features-text"):
        for key, encoder in encoders().items():
            why_not = encoder.unavailable()
            icon = ":orange[:material/block:]" if why_not else ":green[:material/check_circle:]"
            st.markdown(f"{icon} **{md(encoder.label)}** {md(encoder.summary)}")
            for line in [why_not, f"Used for {listing(used[key], 6)}." if key in used else ""]:
                if line:
                    st.caption(md(line))
        _cache()


def _cache() -> None:
    folder = cache_folder()
    n_bytes = size_bytes(folder) if folder.is_dir() else 0
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f":material/hard_drive: Kept vectors of texts: {md(size(n_bytes)) if n_bytes else 'none yet'}.", width="content")
        if n_bytes:
            busy = bool(state.queue().jobs(["queued", "running"]))
            about = "Not while a job is under way: it may be reading them." if busy else "They are made again when they are needed."
            st.button("Clear", key="clear-cache", type="tertiary", icon=":material/delete:", disabled=busy, help=about, on_click=_clear)


def cache_folder() -> Path:
    return state.root() / "cache" / "text"


@action
def _clear() -> None:
    """Never under a job: it may be reading or writing there."""
    if state.queue().jobs(["queued", "running"]):
        raise BadInput("A job is under way, which may be using the kept vectors.", "Clear them when it is done.")
    shutil.rmtree(cache_folder(), ignore_errors=True)
    notify("The kept vectors of texts are cleared.")
