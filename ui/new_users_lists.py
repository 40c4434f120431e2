"""The lists of up to three recommenders, each with its time and what the last answer changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from .inspect_items import Names, attribute_table, in_full
from .inspect_reasons import reasons
from .new_users_data import Listed, Told, adapts, listed, personal, scale_of
from .new_users_state import marks
from .text import both_ends, count, listing, md, number

MOST_GONE = 3
FITS = 28  # characters of a name in a card
LONGEST = 80  # of a title, which takes as many lines as it needs
SLOW = 10.0  # milliseconds, below which a decimal is told


def lists_card(runs: Sequence[Any], names: Names, told: Told) -> list[tuple[Any, Listed]]:
    """Draws the cards; gives the lists that could be had."""
    shown = []
    with st.grid(max(1, len(runs)), min_column_width=230, gap="small"):
        for place, run in enumerate(runs):
            with st.container(border=True, height="stretch", gap="xsmall", key=f"list-{place}"):
                found = _one(place, run, names, told, len(runs) < 3)
                if found is not None:
                    shown.append((run, found))
    if shown:
        _legend(runs[0], told)
    return shown


def _one(place: int, run: Any, names: Names, told: Told, wide: bool) -> Listed | None:
    st.markdown(f"**{md(run.name, 60)}**", wrap=False, help=md(run.name, 200) if len(run.name) > FITS else None)
    try:
        now = listed(run.id, told)
        before = listed(run.id, told[:-1]).items if told else None
    except WorkbenchError as error:
        st.info(f"{md(error.message)} {md(error.hint)}".strip(), icon=":material/info:")
        return None
    st.caption(about(run, now, told))
    if not now.items:
        st.caption("The list is empty: nothing is left to recommend.")
    for rank, (item, mark) in enumerate(zip(now.items, marks(now.items, before), strict=True), start=1):
        categories = md(names.categories(item), 40) if wide else ""
        label = f"{rank}\\. {md(both_ends(names.title(item), LONGEST))}" + (f" :gray[{categories}]" if categories else "")
        _line(f"{place}-{item}", label, item, now.scores[rank - 1], run, names, told, mark)
    gone = [md(both_ends(names.title(item), 30)) for item in before or () if item not in now.items and item != told[-1][0]]
    if gone:
        st.caption(f"Gone: {listing(gone, MOST_GONE)}")
    return now


def about(run: Any, now: Listed, told: Told) -> str:
    """One line: whose list this is and how long it took."""
    took = f"{now.ms:.1f} ms" if now.ms < SLOW else f"{now.ms:,.0f} ms"
    if not personal(run):
        return f"The same for everybody · {took}"
    known = len(told) - len(now.unknown)
    if not told or not known:
        return f"{'What it expects of anybody new' if adapts(run) else 'What anybody new gets'} · {took}"
    lost = f" · {count(len(now.unknown), 'answer')} not in its data" if now.unknown else ""
    return f"{'Adapted' if adapts(run) else 'Answered'} in {took}{lost}"


def mark_text(mark: str) -> str:
    """Markdown of one mark of `new_users_state.marks`."""
    if mark == "new":
        return ":green-badge[new]"
    return f":{'green' if mark[0] == '+' else 'gray'}[:small[{'▲' if mark[0] == '+' else '▼'} {mark[1:]}]]" if mark else ""


def _line(key: str, label: str, item: str, score: float, run: Any, names: Names, told: Told, mark: str) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="xsmall", key=f"line-{key}"):
        st.markdown(f":small[{label}] {mark_text(mark)}".strip(), width="stretch")
        box = st.popover("Why?", key=f"why-{key}", type="tertiary", help=in_full(names, item), wrap=False, on_change="rerun")
    if box.open:
        with box:
            _details(run, item, score, names, told)


def _details(run: Any, item: str, score: float, names: Names, told: Told) -> None:
    st.markdown(f"**{md(names.title(item), 400)}**")
    liked = [one for one, like in told if like]
    if liked and personal(run):
        reasons(run, item, {"history": liked}, names)
    st.caption(f"Score {number(score, 4)}; scores of different recommenders are on different scales. Id {md(item, 80)}.")
    attribute_table(names, item)


def _legend(run: Any, told: Told) -> None:
    said = ["Times are measured inside the model. *Why?* tells why an item is there."]
    if told:
        said.insert(0, "Marks: against the list before the last answer that said something.")
    if any(not liked for _, liked in told) and not scale_of(run.id).has_ratings:
        said.append("This data has no ratings: 'Not for me' keeps an item off the lists, and says no more to a recommender.")
    st.caption(" ".join(said))
