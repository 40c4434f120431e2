"""One column drawn: what is in it, and what becomes of it for a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from recsys_core import registry
from recsys_core.data.features import Guess
from recsys_core.data.features.preview import Histogram, Preview
from recsys_core.errors import NotFound

from . import charts
from .text import count, day, md, share, short

DAY_SECONDS = 86_400
DAYS_OF_YEAR = 365.2425


def draw_preview(name: str, what: Guess, found: Preview, key: str) -> None:
    """The picture of its kind, and a sentence on the rows without a value."""
    if not found.n_rows:
        st.caption("The table has no rows.")
        return
    empty = f"{count(found.n_empty)} of {count(found.n_rows, 'row')} ({share(found.n_empty / found.n_rows)}) say nothing."
    missing = empty if found.n_empty else "Every row says something."
    if found.kind in ("categorical", "multi_valued"):
        _values(name, found, missing, key)
    elif found.kind == "numeric":
        _numbers(name, found, missing, key)
    elif found.kind == "date":
        _dates(name, found, missing, key)
    elif found.kind == "vector":
        st.markdown(f"**{count(found.size, 'number')} in each vector**")
        st.caption(f"{missing} Brought to a common scale; a row without a vector is told apart from others.")
    else:
        _texts(what, found, missing)


def _values(name: str, found: Preview, missing: str, key: str) -> None:
    if not found.values:
        st.markdown("**No value returns in several rows**")
        st.caption(f"{missing} {count(found.n_other, 'row')} have values too rare for a feature of their own; they share one.")
        return
    top, rows = found.values[0]
    title = f"Most frequent: {md(top, 40)}, in {count(rows, 'row')}"
    fig = charts.bars([short(value, 28) for value, _ in found.values], [n for _, n in found.values], "Rows", digits=",.0f")
    fig.update_layout(height=70 + 22 * len(found.values))
    more = f" The {len(found.values)} most frequent are drawn." if found.n_values > len(found.values) else ""
    rare = f" {count(found.n_other, 'row')} hold values too rare for that; these share one." if found.n_other else ""
    charts.show(
        fig, title, key=key, note=f"{count(found.n_values, 'value')} with a feature each.{more}{rare} {missing}", alt=f"Values of {name}"
    )


def _numbers(name: str, found: Preview, missing: str, key: str) -> None:
    if found.before is None or found.after is None:
        st.markdown("**There is at most one number in this column**")
        st.caption(missing)
        return
    fig = charts.columns(found.before.edges, found.before.counts, short(name, 40), "Rows")
    fig.update_layout(height=190)
    charts.show(fig, "As it is", key=f"{key}-before", alt=f"Numbers of {name} as they are")
    after = charts.columns(found.after.edges, found.after.counts, "Common scale: 0 is the mean, 1 a deviation above it", "Rows")
    after.update_layout(height=190)
    how = ", on a log scale" if found.log else ""
    charts.show(after, f"As models read it{how}", key=f"{key}-after", note=missing, alt=f"Numbers of {name} as models read them")


def _dates(name: str, found: Preview, missing: str, key: str) -> None:
    if found.dates is None:
        st.markdown("**There is at most one date in this column**")
        st.caption(missing)
        return
    first, last = (day(float(edge) * DAY_SECONDS) for edge in found.dates.edges[[0, -1]])
    fig = charts.columns(1970 + np.asarray(found.dates.edges) / DAYS_OF_YEAR, found.dates.counts, "Year", "Rows")
    fig.update_traces(customdata=_spans(found.dates))
    fig.update_layout(height=240)
    fig.update_xaxes(tickformat="d")
    charts.show(fig, f"From {first} to {last}", key=key, note=missing, alt=f"Dates of {name}")


def _spans(dates: Histogram) -> list[str]:
    return [f"{day(float(a) * DAY_SECONDS)} to {day(float(b) * DAY_SECONDS)}" for a, b in zip(dates.edges, dates.edges[1:], strict=False)]


def _texts(what: Guess, found: Preview, missing: str) -> None:
    if found.samples:
        st.markdown("**Some of its cells**")
        st.markdown("\n".join(f"- {md(sample, 160)}" for sample in found.samples))
    words = f"{count(found.n_words, 'word')} in a cell of middling length. " if found.n_words > 1 else ""
    st.caption(f"{words}{missing}")
    if what.kind == "text":
        encoder_line(what)


def encoder_line(what: Guess) -> Any:
    """Which encoder reads the texts, and whether it can be had here."""
    try:
        encoder = registry.get("text_encoder", (what.settings or {}).get("encoder", "tfidf_svd"))
    except NotFound as error:
        st.error(md(str(error)), icon=":material/error:")
        return
    if why_not := encoder.unavailable():
        st.warning(f"{md(encoder.label)} cannot be used here. {md(why_not)}", icon=":material/block:")
    else:
        st.caption(f":material/translate: Read by {md(encoder.label)}. {md(encoder.summary)}")
