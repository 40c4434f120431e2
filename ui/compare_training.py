"""Training curves of the Compare page: one line a phase of fitting, the loss of each model on its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from recsys_core.evaluation import metric_label

from . import charts, compare_charts
from .compare_charts import Look
from .text import md

NOT_A_MEASURE = ("stage", "epoch", "at", "seconds", "learning_rate", "samples_per_second")


def training_curves(learnt: Sequence[tuple[Look, list[dict[str, Any]]]]) -> None:
    """learnt: look and history of every run that has epochs."""
    validated = [(look, *series_of(steps, name)) for look, steps in learnt for name in measures(steps) if "@" in name]
    names = {name for _, steps in learnt for name in measures(steps) if "@" in name}
    if validated:
        label = metric_label(next(iter(names))) if len(names) == 1 else "Validation measure"
        top = {look.name: max(ys) for look, _, ys in validated}
        best = max(top, key=top.__getitem__)
        title = f"When did they stop getting better? {md(best)} reached {top[best]:.4f} on validation data"
        note = "Measured after each pass on data held out of training for this purpose, never on the test part. The best pass is kept."
        charts.show(
            compare_charts.curves(validated, "Pass over the data (epoch)", f"{label} on validation"), title, key="validation", note=note
        )
    with st.grid(2, min_column_width=340, gap="medium"):
        for n, (look, steps) in enumerate(learnt):
            epochs, losses = series_of(steps, "loss")
            if len(losses) > 1:
                with st.container():
                    fig = compare_charts.curves([(look, epochs, losses)], "Pass over the data (epoch)", "Loss", height=240)
                    fell = "fell" if losses[-1] < losses[0] else "did not fall"
                    charts.show(fig, f"{md(look.name)}: the training loss {fell}", key=f"loss-{n}-{look.position}")
    st.caption("Losses of different models are on different scales and cannot be compared with each other.")


def measures(steps: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the numbers in a history, in order of appearance."""
    return list(
        dict.fromkeys(
            name for step in steps for name, value in step.items() if name not in NOT_A_MEASURE and isinstance(value, int | float)
        )
    )


def series_of(steps: Sequence[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """(epochs, values) of one measure in the first phase that has it: with validation, before the final fit."""
    phase = next((step.get("stage") for step in steps if isinstance(step.get(name), int | float)), None)
    found = [
        (int(step["epoch"]), float(step[name])) for step in steps if step.get("stage") == phase and isinstance(step.get(name), int | float)
    ]
    return [epoch for epoch, _ in found], [value for _, value in found]
