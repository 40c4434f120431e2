"""Which features a model listened to, drawn from the findings of its run: the mean weight of each field, and how far it varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from . import charts
from .text import count, md, share, short

LONGEST = 30  # characters of a field's name
MOST = 15  # fields drawn of a side
SIDES = {"item": "items", "user": "users"}
WHAT_IT_IS = (
    "A weight is the share of a field in what the network reads of an item or a user, after its gate; those of one side add up to "
    "100 %. Nine of ten items or users lie within the line. It tells what the network listens to, not what causes a choice: of two "
    "fields that say the same, one may have a low weight and still be good."
)


def feature_findings(run: Any) -> None:
    """The part of a run card that is about fields; nothing for models that do not weigh them."""
    found = run.findings.get("features")
    if not isinstance(found, Mapping):
        return
    sides = {side: rows for side in SIDES if (rows := _rows(found.get(side)))}
    if not sides:
        return
    with st.grid(len(sides), min_column_width=340, gap="medium"):
        for side, rows in sides.items():
            with st.container():
                _side(run, side, rows)
    if any(len(rows) > 1 for rows in sides.values()):
        st.caption(WHAT_IT_IS)


def _rows(saved: Any) -> list[dict[str, Any]]:
    """The fields of a side, the heaviest first."""
    rows = [row for row in saved or [] if isinstance(row, Mapping) and row.get("weight") is not None]
    return sorted((dict(row) for row in rows), key=lambda row: -float(row["weight"]))


def _side(run: Any, side: str, rows: Sequence[Mapping[str, Any]]) -> None:
    first = rows[0]
    told = f"{md(short(str(first['label']), 40))} most, {share(float(first['weight']))}"
    if len(rows) == 1:
        st.markdown(f":material/info: Of {SIDES[side]} it reads one field only: {md(str(first['label']), 60)}.")
        return
    note = ""
    if len(rows) > MOST:
        rest = sum(float(row["weight"]) for row in rows[MOST:])
        note = f"{count(len(rows) - MOST, 'more field')}, together {share(rest)}."
    title = f"Which features of {SIDES[side]} did it listen to? {told}"
    charts.show(weights(rows[:MOST]), title, key=f"features-{run.id}-{side}", note=note)


def weights(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    """A bar a field with the range of nine of ten."""
    names = [short(str(row["label"]), LONGEST) for row in rows]
    names = [name if names.count(name) == 1 else f"{name} ·{names[: n + 1].count(name)}" for n, name in enumerate(names)]
    parts = {part: [100 * float(row.get(part, row["weight"])) for row in rows] for part in ("weight", "low", "high")}
    return charts.bars(names, parts["weight"], "Weight, %", low=parts["low"], high=parts["high"], digits=".1f")
