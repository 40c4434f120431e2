"""Lists side by side: rank, title, what was held out, and behind every item why it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError

from .errors import guarded
from .inspect_items import Names, attribute_table, described, in_full
from .inspect_reasons import reasons
from .text import md, number

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
