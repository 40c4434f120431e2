"""A user who does not exist yet: pick some items, and the lists of the chosen recommenders appear at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import streamlit as st

from recsys_core.errors import WorkbenchError

from . import navigation, state
from .errors import action
from .inspect_data import Choice
from .inspect_items import Names, described, in_full, item_names
from .inspect_lists import Shown, show_lists
from .text import count, md, number

LENGTH = 10
MOST_PICKS = 50


def new_user_tab(choice: Choice) -> None:
    data, names = state.dataset(choice.dataset_id), item_names(choice.dataset_id)
    scale = rating_steps(data)
    picks = read_picks(names)
    left, right = st.columns([5, 8], gap="medium")
    with left:
        _picked(names, picks, scale)
        _search(names, picks, scale)
    with right:
        _lists(choice, names, picks, scale)


# ---- the picks, in the URL ---------------------------------------------------------------------------
def read_picks(names: Names) -> dict[str, float | None]:
    """item -> rating (None: no rating given), oldest first; items this dataset does not have are passed over."""
    found: dict[str, float | None] = {}
    for part in (state.current("picks") or "").split(",")[:MOST_PICKS]:
        item, _, rating = part.partition(":")
        item = unquote(item)
        if item and names.code(item) >= 0:
            try:
                found[item] = float(rating) if rating else None
            except ValueError:
                found[item] = None
    return found


def write_picks(picks: Mapping[str, float | None]) -> None:
    text = ",".join(quote(item, safe="") + (f":{rating:g}" if rating is not None else "") for item, rating in picks.items())
    state.remember(picks=text or None)


def rating_steps(data: Any) -> list[float]:
    """The ratings a pick can be given, best first; empty where the data has none."""
    if data.feedback != "explicit":
        return []
    levels = np.unique(data.value)
    if len(levels) > 20:
        levels = np.linspace(levels[0], levels[-1], 11)
    return [float(f"{level:.6g}") for level in levels[::-1]]


@action
def _add(names: Names, item: str, rating: float | None) -> None:
    picks = read_picks(names)
    if len(picks) < MOST_PICKS:
        write_picks(picks | {item: rating})


@action
def _remove(names: Names, item: str) -> None:
    write_picks({kept: rating for kept, rating in read_picks(names).items() if kept != item})


@action
def _rate(names: Names, item: str, key: str) -> None:
    write_picks(read_picks(names) | {item: st.session_state[key]})


@action
def _clear() -> None:
    state.remember(picks=None)


# ---- drawing -----------------------------------------------------------------------------------------
def _picked(names: Names, picks: Mapping[str, float | None], scale: list[float]) -> None:
    with st.container(border=True, key="picked"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("The new user's items", anchor=False, width="stretch")
            if picks:
                st.button("Clear", key="clear-picks", type="tertiary", on_click=_clear)
        if not picks:
            st.caption("None yet. Add items below: what this person bought, read or liked, the oldest first.")
        for item, rating in picks.items():
            with st.container(horizontal=True, vertical_alignment="center", key=f"pick-{item}", wrap=False):
                st.markdown(described(names, item, 40), width="stretch", help=in_full(names, item))
                if scale:
                    key = f"rating-{item}"
                    if st.session_state.get(key) not in scale:
                        st.session_state[key] = rating if rating in scale else scale[0]
                    st.selectbox(
                        f"Rating of {md(names.title(item), 60)}", scale, key=key, format_func=lambda v: number(v), on_change=_rate,
                        args=(names, item, key), label_visibility="collapsed", width=84,
                    )  # fmt: skip
                st.button(
                    "Remove", key=f"remove-{item}", icon=":material/close:", type="tertiary", on_click=_remove, args=(names, item),
                    help="Take this item out.",
                )  # fmt: skip


def _search(names: Names, picks: Mapping[str, float | None], scale: list[float]) -> None:
    with st.container(border=True, key="add-items", gap="small"):
        what = "title" if names.has_titles else "id"
        term = st.text_input(
            f"Search items by {what}", key="pick-term", type="search", live="300ms", placeholder=f"Words of the {what}",
            help="Titles that begin with the words come first, then the most popular that hold them all.",
        )  # fmt: skip
        if not names.has_titles:
            st.caption("This dataset has no table of titles, so items are shown by their ids.")
        found = names.find(term or "", leave_out=list(picks))
        if not found:
            st.info(f"No item holds '{md(term, 60)}'.", icon=":material/info:")
        elif not (term or "").strip():
            st.caption("The most popular items:")
        full = len(picks) >= MOST_PICKS
        if full:
            st.info(f"At most {MOST_PICKS} items can be picked.", icon=":material/info:")
        for item in found:
            st.button(
                described(names, item), key=f"add-{item}", icon=":material/add:", type="tertiary", help=in_full(names, item), wrap=False,
                disabled=full, on_click=_add, args=(names, item, scale[0] if scale else None),
            )  # fmt: skip


def _lists(choice: Choice, names: Names, picks: Mapping[str, float | None], scale: list[float]) -> None:
    ids, items = [run.id for run in choice.runs], list(picks)
    try:
        with st.spinner("Loading the models …", show_time=False):
            state.scorer().warm(ids)
        if not items:
            st.info("Pick an item on the left: the lists appear at once.", icon=":material/touch_app:")
            return
        values = [[picks[item] if picks[item] is not None else scale[0] for item in items]] if scale else None
        start = time.perf_counter()
        answers = state.scorer().recommend_for_history(ids, [items], LENGTH, values=values)
        seconds = time.perf_counter() - start
    except WorkbenchError as error:
        st.error(f"**{md(error.message)}** {md(error.hint)}", icon=":material/error:")
        st.button("Try again", key="ask-again", icon=":material/replay:")
        return
    lists = []
    for run in choice.runs:
        answer = answers[run.id]
        row = answer.rows[0] if answer.rows else None
        about = ""
        if row is not None and row.unknown:
            about = f"{count(len(row.unknown), 'picked item')} not in its training data: passed over."
        lists.append(Shown(run, row.items if row else (), row.scores if row else (), about, answer.error, {"history": items}))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":gray[Answered in {seconds * 1000:,.0f} ms for {count(len(items), 'item')}.]", width="stretch")
        navigation.link("export", "Export lists", icon=":material/download:", dataset=choice.dataset_id, run=ids[0])
    show_lists("new", lists, names)
    st.caption("Click an item to see why it is on the list.")
