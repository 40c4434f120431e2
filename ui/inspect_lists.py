"""Lists side by side: rank, title, what was held out, and behind every item why it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from . import state
from .errors import guarded
from .fusion_findings import part_titles
from .inspect_items import Names, attribute_table, described, in_full
from .text import md, number

REASONS = 5
HIT = ":green-badge[:material/check: hit]"


@dataclass(frozen=True)
class Shown:
    """One list. ask: how the scorer is asked why, {"user": …} or {"history": […]}; None where there is no why.
    about: a Markdown line under the name. error: why there is no list."""

    run: Any
    items: Sequence[str] = ()
    scores: Sequence[float] = ()
    about: str = ""
    error: WorkbenchError | None = None
    ask: Mapping[str, Any] | None = field(default=None)


def show_lists(key: str, lists: Sequence[Shown], names: Names, hits: frozenset[str] = frozenset(), columns: int = 2) -> None:
    """The cards. hits: items that were held out from this user, and so are found when they are on a list."""

    @st.fragment(key=f"{key}-fragment")
    @guarded
    def draw() -> None:
        with st.grid(min(columns, max(1, len(lists))), min_column_width=300, gap="medium"):
            for shown in lists:
                with st.container(border=True, height="stretch", gap="xxsmall", key=f"{key}-{shown.run.id}"):
                    _one(f"{key}-{shown.run.id}", shown, names, hits)

    draw()


def _one(key: str, shown: Shown, names: Names, hits: frozenset[str]) -> None:
    st.markdown(f"**{md(shown.run.name, 60)}**")
    if shown.about:
        st.caption(shown.about)
    if shown.error is not None:
        st.info(f"{md(shown.error.message)} {md(shown.error.hint)}".strip(), icon=":material/info:")
        return
    if not shown.items:
        st.caption("The list is empty: no item is left that this user has not had.")
    for rank, (item, score) in enumerate(zip(shown.items, shown.scores, strict=True), start=1):
        label = f"{rank}\\. {HIT + ' ' if item in hits else ''}{described(names, item)}"
        box = st.popover(
            label, type="tertiary", help=in_full(names, item), width="content", wrap=False, key=f"{key}-{rank}-{item}", on_change="rerun"
        )
        if box.open:
            with box:
                _details(shown, item, score, names, item in hits)


def _details(shown: Shown, item: str, score: float, names: Names, hit: bool) -> None:
    st.markdown(f"**{md(names.title(item), 400)}**")
    if hit:
        st.markdown(f"{HIT} This user had it in the held-out part, which the model did not see.")
    if shown.ask is not None:
        reasons(shown.run, item, shown.ask, names)
    st.caption(f"Score {number(score, 4)}; scores of different recommenders are on different scales. Id {md(item, 80)}.")
    attribute_table(names, item)


def reasons(run: Any, item: str, ask: Mapping[str, Any], names: Names) -> None:
    """Why a model lists an item: history items, or the parts of a fused model, each with its share."""
    try:
        with st.spinner("Asking the model …", show_time=False):
            why = state.scorer().explain(run.id, item, k=REASONS, **ask)
    except WorkbenchError as error:
        st.caption(f":material/help: {md(str(error))}")
        return
    if why.kind == "models":
        _shares(run, why)
        return
    if not why.refs or not why.total:
        st.caption("Nothing in the history speaks for it: it is on the list as what is popular.")
        return
    st.markdown("Because of" if why.kind == "history" else "How much each part speaks for it")
    titles = names.titles(why.refs) if why.kind == "history" else list(why.refs)
    adds_up = why.exact or why.kind != "history"  # else a fall of the score, which may be of any size and sign
    whole = abs(why.total) if adds_up else max(abs(part) for part in why.contributions) or 1.0
    for title, part in zip(titles, why.contributions, strict=True):
        share = part / whole
        against = "" if share >= 0 else ": speaks against it"
        told = f"{'−' * bool(against)}{abs(share):.0%}{against}" if adds_up else f"{'−' if share >= 0 else '+'}{number(abs(part))}{against}"
        st.progress(min(1.0, max(0.0, share)), text=f"{md(title, 60)} · {told}")
    rest = 1 - sum(why.contributions) / why.total
    if why.kind == "history" and why.exact and rest > 0.005:
        st.caption(f"All other items of the history: {rest:.0%}.")
    st.caption(md(why.method))


def _shares(run: Any, why: Any) -> None:
    """The parts of a fused model: shares of all that was said, for and against, so that they never exceed the whole."""
    whole = sum(abs(part) for part in why.contributions)
    if not whole:
        st.caption("The parts say nothing of it: it is on the list as what is popular.")
        return
    st.markdown("How much each part speaks for it")
    titles = part_titles(run.findings)
    for label, part in zip(why.refs, why.contributions, strict=True):
        told = "has no say here" if not part else f"{abs(part) / whole:.0%}{' against it' if part < 0 else ''}"
        st.progress(max(0.0, part / whole), text=f"{md(titles.get(label, label), 60)} · {told}")
    st.caption(md(why.method))
