"""Why a model lists an item: history items, features, or the parts of a fused model, each with its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound, WorkbenchError

from . import charts, state
from .fusion_findings import part_titles
from .inspect_items import Names
from .text import md, number, short

REASONS = 5
MANY = 200  # asked of models whose reasons are of several sorts, so that each sort has its largest
SMALL = 0.01
LONGEST = 40  # characters of a reason above its bar
GROUPS = {"item feature": "Because of what it is", "user feature": "Because of who this is", "history": "Because of what they had"}


def reasons(run: Any, item: str, ask: Mapping[str, Any], names: Names) -> None:
    """Asks the model and draws its answer. ask: as of `Shown`."""
    k = MANY if _reads_features(run.model_key) else REASONS
    try:
        with st.spinner("Asking the model …", show_time=False):
            why = state.scorer().explain(run.id, item, k=k, **ask)
    except WorkbenchError as error:
        st.caption(f":material/help: {md(str(error))}")
        return
    if why.kind == "models":
        _shares(run, why)
        return
    if why.kind in ("mixed", "features"):
        _by_sort(f"{run.id}-{item}", why, names)
        return
    if not why.refs or not why.total:
        st.caption("Nothing in the history speaks for it: it is on the list as what is popular.")
        return
    st.markdown("Because of")
    parts, adds_up = why.contributions[:REASONS], why.exact  # else a fall of the score, which may be of any size and sign
    whole = abs(why.total) if adds_up else max(abs(part) for part in parts) or 1.0
    for title, part in zip(names.titles(why.refs[:REASONS]), parts, strict=True):
        share = part / whole
        against = "" if share >= 0 else ": speaks against it"
        told = f"{'−' * bool(against)}{abs(share):.0%}{against}" if adds_up else f"{'−' if share >= 0 else '+'}{number(abs(part))}{against}"
        st.progress(min(1.0, max(0.0, share)), text=f"{md(title, 60)} · {told}")
    rest = 1 - sum(parts) / why.total
    if why.exact and rest > 0.005:
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


def _reads_features(key: str) -> bool:
    try:
        return bool(registry.get("model", key).reads_features)
    except NotFound:
        return False


def by_sort(why: Any, names: Names) -> dict[str, list[tuple[str, float]]]:
    """Heading -> (what, how much) of the reasons of that sort, the largest first: at most `REASONS` of each, none that is 0, and beside
    the first of its sort none that is `SMALL` beside the largest of all."""
    sorts = why.sorts or ("item feature",) * len(why.refs)
    least = SMALL * max((abs(part) for part in why.contributions), default=0.0)
    found: dict[str, list[tuple[str, float]]] = {}
    for sort, heading in GROUPS.items():
        own = [(ref, part) for ref, part, of in zip(why.refs, why.contributions, sorts, strict=True) if of == sort and part]
        own = sorted(own, key=lambda pair: -abs(pair[1]))[:REASONS]
        own = [pair for n, pair in enumerate(own) if not n or abs(pair[1]) >= least]
        titles = names.titles([ref for ref, _ in own]) if sort == "history" and own else [ref for ref, _ in own]
        if own:
            found[heading] = [(str(title), float(part)) for title, (_, part) in zip(titles, own, strict=True)]
    return found


def _by_sort(key: str, why: Any, names: Names) -> None:
    """Bars to both sides, in one scale, under a heading for each sort of reason."""
    found = by_sort(why, names)
    if not found:
        st.caption("Neither features nor history speak for it: it is on the list as what is popular.")
        return
    fig, told = bars_by_sort(found)
    charts.show(fig, "What speaks for it, and what against it?", key=f"why-{key}", note=md(why.method), alt=told)


def bars_by_sort(found: Mapping[str, Sequence[tuple[str, float]]]) -> tuple[go.Figure, str]:
    """(figure, the same in words). What a bar stands for is written above it, so that a narrow box has room for both."""
    n_rows = sum(len(rows) for rows in found.values())
    fig = charts.figure("", "", height=40 + 36 * n_rows + 30 * len(found))
    at, told, places, values, colors, hover = 0.0, [], [], [], [], []
    for heading, rows in found.items():
        fig.add_annotation(x=0, y=at, xref="paper", xanchor="left", text=f"<b>{charts.plain(heading)}</b>", showarrow=False)
        told.append(f"{heading}:")
        for title, part in rows:
            at += 1.0
            amount = f"{'+' if part > 0 else '−'}{number(abs(part), 2)}"
            what = f"{charts.plain(short(title, LONGEST))} <b>{amount}</b>"
            fig.add_annotation(x=0, y=at - 0.08, xref="paper", xanchor="left", yanchor="bottom", text=what, showarrow=False)
            told.append(f"{short(title, 80)} {amount}")
            places, values = [*places, at + 0.18], [*values, part]
            colors.append(charts.series_color(0 if part > 0 else 5))
            hover.append(f"{charts.plain(short(title, 120))}<br>{amount}{'' if part > 0 else ', speaks against it'}")
        at += 1.0
    fig.add_bar(
        x=values, y=places, width=0.26, orientation="h", marker_color=colors, customdata=hover, hovertemplate="%{customdata}<extra></extra>"
    )
    ends = [1.05 * min(0.0, *values), 1.05 * max(0.0, *values)]
    fig.update_xaxes(range=ends, showgrid=False, title="Change of the score")
    for place in places:  # not one line through all: it would cross what is written
        fig.add_shape(type="line", x0=0, x1=0, y0=place - 0.22, y1=place + 0.22, line={"color": charts.MUTED, "width": 1.5})
    fig.update_yaxes(range=[at - 0.4, -0.5], visible=False)
    return fig, " ".join(told)
