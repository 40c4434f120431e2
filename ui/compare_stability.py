"""Stability: the same experiment with other seeds, or over folds, and how far the figures move."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from recsys_core.evaluation import Repeat, compare_repeats, corrected_repeats, repeats

from . import charts, compare_charts, compare_intervals, navigation
from .compare_data import higher_is_better
from .compare_views import View, axis_of
from .text import count, listing, md

ABOUT_SEEDS = (
    "Another seed draws another split where the split is random, so the spread holds both: other test interactions and another "
    "start of the model. Where the rule leaves nothing to chance, it is the model alone."
)


def stability(view: View) -> None:
    """Every chosen result that was repeated, and pairs of them over the same seeds or folds."""
    chosen = {run.id for run in view.runs}
    found = [one for one in repeats(view.all_runs or view.runs) if chosen & set(one.ids)]
    told = sorted((one for one in found if one.kind != "once" and one.spread(view.name).n > 1), key=lambda one: _order(one, view.name))
    if not told:
        st.markdown("**How stable is it?** None of the chosen results was repeated yet.")
        st.caption("Train the same models again with other seeds (Train, 'Repeat with other seeds'), or split by k-fold. " + ABOUT_SEEDS)
        navigation.link("train", "Train with other seeds", icon=":material/replay:", dataset=view.group.runs[0].dataset_id)
        return
    _chart(view, told)
    _table(told, view.name)
    for sentence in paired_sentences(told, view.name):
        st.markdown(f"- {md(sentence)}")
    once = [one.name for one in found if one not in told]
    if once:
        st.caption(f"Trained only once: {md(listing(once, 6))}.")
    if any(one.kind == "seeds" for one in told):
        st.caption(ABOUT_SEEDS)


def _order(one: Repeat, name: str) -> float:
    return (-1 if higher_is_better(name) else 1) * one.spread(name).mean


def _chart(view: View, told: Sequence[Repeat]) -> None:
    widest = max(told, key=lambda one: one.spread(view.name).deviation)
    positions = {run.id: n for n, run in enumerate(view.group.runs)}
    looks = compare_charts.looks(
        {one.ids[0]: one.label for one in told},
        {one.ids[0]: next((positions[i] for i in one.ids if i in positions), n) for n, one in enumerate(told)},
    )
    rows = [(looks[one.ids[0]], one.figures(view.name), [_said(key) for key in one.keys]) for one in told]
    spread = widest.spread(view.name)
    title = f"How stable is it? {md(widest.label)} moves most: {spread.text()}"
    note = "A point for each seed (or fold), a line at their mean. ± is the standard deviation between them."
    charts.show(compare_intervals.strips(rows, axis_of(view.name)), title, key="stability", note=note)


def _said(key: tuple[str, int]) -> str:
    return f"seed {key[1]}" if key[0] == "seed" else f"fold {key[1] + 1}"


def _table(told: Sequence[Repeat], name: str) -> None:
    spreads = [one.spread(name) for one in told]
    frame = pd.DataFrame(
        {
            "name": [one.name for one in told],
            "repeated": [count(s.n, one.kind[:-1]) for one, s in zip(told, spreads, strict=True)],
            "mean": [s.mean for s in spreads],
            "deviation": [s.deviation for s in spreads],
            "lowest": [s.lowest for s in spreads],
            "highest": [s.highest for s in spreads],
            "drawn": ["another each fold" if one.kind == "folds" else "another each seed" if one.new_split else "the same" for one in told],
        }
    )
    text, figure = st.column_config.TextColumn, st.column_config.NumberColumn
    st.dataframe(
        frame,
        hide_index=True,
        key=f"stability-{name}-{len(frame)}",
        alt="Mean and spread of every result that was repeated",
        column_config={
            "name": text("Recommender", width="medium", pinned=True),
            "repeated": text("Repeated", help="How many seeds or folds."),
            "mean": figure("Mean", format="%.4f"),
            "deviation": figure("Spread (±)", format="%.4f", help="Standard deviation between seeds or folds."),
            "lowest": figure("Lowest", format="%.4f"),
            "highest": figure("Highest", format="%.4f"),
            "drawn": text("Split", help="Whether every repeat was judged on another split."),
        },
    )


def paired_sentences(told: Sequence[Repeat], name: str, most: int = 4) -> list[str]:
    """The best (told comes best first) against each of the others, over the seeds or folds they share, corrected for all of them."""
    if not told:
        return []
    pairs = [compare_repeats(other, told[0], name) for other in told[1:] if other.kind == told[0].kind]
    return [found.sentence() for found in corrected_repeats([p for p in pairs if p is not None and len(p.differences) > 1])][:most]
