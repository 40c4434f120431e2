"""Training on the Compare page: when each model was best, and the training panel of the one that is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from recsys_core.evaluation import higher_is_better

from . import charts, compare_charts
from .compare_charts import Look
from .text import md
from .training_data import is_validation, measure_label, stories
from .training_panel import past_panel


def training_curves(learnt: Sequence[tuple[Look, list[dict[str, Any]], float | None]], key: str) -> None:
    """learnt: look, history and seconds of fitting of every run that has passes. key: of these runs."""
    found = {name: curves for name in measures([steps for _, steps, _ in learnt]) if len(curves := validated(learnt, name)) > 1}
    for name, curves in found.items():
        label = measure_label(name)
        pick = max if higher_is_better(name) else min
        tops = {look.name: pick(ys) for look, _, ys in curves}
        best = pick(tops, key=tops.__getitem__)
        title = f"When did they stop getting better? {md(best)} reached {tops[best]:.4f} on validation data"
        note = "Measured after each pass on data held out of training for this purpose, never on the test part. The best pass is kept."
        charts.show(compare_charts.curves(curves, "Pass", f"{label} on validation"), title, key=f"validation-{name}", note=note)
    at = 0
    if len(learnt) > 1:
        names = [look.name for look, _, _ in learnt]
        start = next((n for n, (_, steps, _) in enumerate(learnt) if measures([steps])), 0)  # one with more to see than a loss
        at = st.selectbox("Look closer at", range(len(learnt)), start, format_func=lambda n: names[n], key=f"training-of-{key}") or 0
    look, steps, seconds = learnt[at]
    if len(learnt) == 1:
        st.markdown(f"##### {md(look.name)}")
    past_panel(steps, f"past-{key}-{at}", seconds)


def measures(histories: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """Names of what was measured on validation data, in order of appearance."""
    return list(dict.fromkeys(story.metric for steps in histories for story in stories(steps) if is_validation(story.metric)))


def validated(learnt: Sequence[tuple[Look, list[dict[str, Any]], Any]], name: str) -> list[tuple[Look, list[int], list[float]]]:
    """Look and curve of every run that was measured by `name` after each pass; of folds and parts the last, which builds on the others."""
    out = []
    for look, steps, _ in learnt:
        curve = next((story.validated for story in reversed(stories(steps)) if story.metric == name), ([], []))
        if curve[0]:
            out.append((look, *curve))
    return out
