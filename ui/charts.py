"""Plotly figures from plain numbers, one look for all of them.

A chart is a sentence (`title`: the question or the answer), a figure and, if it needs one, a note on
how to read it. Functions here take arrays and give a figure; `show` puts it on the page. Colours come
from the theme (Okabe-Ito, safe for colour-blind readers) so that light and dark both work: set no
colour by hand, except `ACCENT`, `MUTED` and `series_color`.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

# Okabe-Ito in the order of .streamlit/config.toml, without the yellow that vanishes on white.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F")
OKABE_ITO_DARK = ("#56B4E9", "#E69F00", "#2BB58A", "#CC79A7", "#F0E442", "#E8743B", "#9A9A9A")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
MUTED = "rgba(128,128,128,0.65)"
GRID = "rgba(128,128,128,0.18)"
HEIGHT = 300


def dark() -> bool:
    return st.context.theme.type == "dark"


def palette() -> tuple[str, ...]:
    return OKABE_ITO_DARK if dark() else OKABE_ITO


def accent() -> str:
    """The colour of a single series."""
    return palette()[0]


def series_color(position: int) -> str:
    """The colour of the n-th series; the same model keeps its colour when you pass its position in one fixed order."""
    colors = palette()
    return colors[position % len(colors)]


def plain(text: object) -> str:
    """Untrusted text for labels and hover boxes (plotly reads some HTML)."""
    return html.escape(" ".join(str(text).split()), quote=False)


def figure(x: str, y: str, *, height: int = HEIGHT, legend: bool = False, log_x: bool = False, log_y: bool = False) -> go.Figure:
    """An empty figure with named axes in the house look. Axis names carry their unit: "Interactions per user"."""
    out = go.Figure()
    out.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=legend,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "title": None},
        hoverlabel={"align": "left"},
        bargap=0.06,
        dragmode=False,
        colorway=list(palette()),
    )
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True, "title_standoff": 8}
    out.update_xaxes(title=x, showgrid=False, type="log" if log_x else None, **axis)
    out.update_yaxes(title=y, type="log" if log_y else None, **axis)
    if log_x:
        out.update_xaxes(dtick=1)
    if log_y:
        out.update_yaxes(dtick=1)
    return out


def show(fig: go.Figure, title: str, *, key: str, note: str = "", alt: str = "", select: bool | Callable[[], None] = False) -> Any:
    """Draw a figure under its title. `title` and `note` are Markdown: pass untrusted parts through `md`.

    select: True reruns the page when a point is clicked and returns plotly's selection; a function is called before.
    """
    st.markdown(f"**{title}**")
    config = {
        "displaylogo": False,
        "displayModeBar": "hover",
        "scrollZoom": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"filename": re.sub(r"\W+", "-", title.lower()).strip("-")[:60] or "chart", "scale": 2},
    }
    more: dict[str, Any] = {"on_select": select if callable(select) else "rerun", "selection_mode": "points"} if select else {}
    event = st.plotly_chart(fig, key=key, config=config, alt=alt or re.sub(r"[*_`\\]", "", title), **more)
    if note:
        st.caption(note)
    return event


def _hover(x: str, x_format: str, y: str) -> str:
    return f"{plain(x)} {x_format}<br>{plain(y)} %{{y:,}}<extra></extra>".lstrip()


def _line(n: int) -> dict[str, Any]:
    """Colour of the n-th series; the dash changes when the colours are used up."""
    return {"color": series_color(n), "width": 2, "dash": DASHES[(n // len(palette())) % len(DASHES)]}


# ---- shapes --------------------------------------------------------------------------------------
def lines(
    series: Mapping[str, tuple[Sequence, Sequence]], x: str, y: str, *, markers: bool = True, height: int = HEIGHT, digits: str = ".4f"
) -> go.Figure:
    """name -> (xs, ys). Series differ in colour, dash and marker, so that they can be told apart without colour."""
    fig = figure(x, y, legend=len(series) > 1, height=height)
    for n, (name, (xs, ys)) in enumerate(series.items()):
        fig.add_scatter(
            x=list(xs),
            y=list(ys),
            name=plain(name),
            mode="lines+markers" if markers else "lines",
            line=_line(n),
            marker={"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 7},
            hovertemplate=f"{plain(name)}<br>{plain(x)} %{{x}}<br>{plain(y)} %{{y:{digits}}}<extra></extra>",
        )
    return fig


def bars(
    names: Sequence[str],
    values: Sequence[float],
    y: str,
    *,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    digits: str = ".4f",
) -> go.Figure:
    """Horizontal bars, first name on top, with optional interval ends."""
    fig = figure(y, "", height=80 + 32 * len(names))
    values = np.asarray(values, dtype=float)
    error = None
    if low is not None and high is not None:
        above, below = np.asarray(high) - values, values - np.asarray(low)
        error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": MUTED, "thickness": 1.5}
    labels = [plain(name) for name in names]
    hover = f"%{{y}}<br>{plain(y)} %{{x:{digits}}}<extra></extra>"
    fig.add_bar(x=values, y=labels, orientation="h", error_x=error, marker_color=accent(), hovertemplate=hover)
    fig.update_yaxes(autorange="reversed", showgrid=False, title=None)
    fig.update_xaxes(showgrid=True)
    return fig


def columns(edges: Sequence[float], counts: Sequence[float], x: str, y: str, *, log_x: bool = False, log_y: bool = False) -> go.Figure:
    """A histogram from bin edges (n + 1) and counts (n); log_x for edges evenly spaced on a log scale."""
    edges = np.asarray(edges, dtype=float)
    fig = figure(x, y, log_y=log_y)
    ranges = [f"{a:,.4g} to {b:,.4g}" for a, b in itertools.pairwise(edges)]
    if log_y:
        fig.update_yaxes(title=f"{y} (logarithmic)")
    drawn = np.log10(edges) if log_x else edges
    fig.add_bar(
        x=(drawn[:-1] + drawn[1:]) / 2,
        y=np.asarray(counts),
        width=np.diff(drawn) * 0.94,
        customdata=ranges,
        marker_color=accent(),
        hovertemplate=f"%{{customdata}}<br>{plain(y)} %{{y:,}}<extra></extra>",
    )
    if log_x:
        decades = np.arange(np.floor(drawn[0]), np.ceil(drawn[-1]) + 1)
        fig.update_xaxes(tickvals=decades, ticktext=[f"{10**d:,.4g}" for d in decades], title=f"{x} (logarithmic)")
    return fig


def categories(names: Sequence[Any], counts: Sequence[float], x: str, y: str) -> go.Figure:
    """Upright bars over a few named values (ratings, event types)."""
    fig = figure(x, y)
    fig.add_bar(x=[plain(n) for n in names], y=np.asarray(counts), marker_color=accent(), hovertemplate=_hover(x, "%{x}", y))
    fig.update_xaxes(type="category")
    return fig


def area(x_values: Sequence[Any], y_values: Sequence[float], x: str, y: str) -> go.Figure:
    """Activity over time: dates and counts."""
    fig = figure(x, y)
    fig.add_scatter(
        x=list(x_values),
        y=list(y_values),
        mode="lines",
        line={"color": accent(), "width": 1.8},
        fill="tozeroy",
        hovertemplate=_hover("", "%{x|%-d %b %Y}", y),
    )
    fig.update_yaxes(rangemode="tozero")
    return fig


def loglog(series: Mapping[str, tuple[Sequence, Sequence]], x: str, y: str, *, texts: Sequence[Sequence[str]] | None = None) -> go.Figure:
    """Points on two logarithmic axes: how many users (items) have how many interactions. texts: hover text of each point."""
    fig = figure(x, y, legend=len(series) > 1, log_x=True, log_y=True)
    for n, (name, (xs, ys)) in enumerate(series.items()):
        fig.add_scatter(
            x=list(xs),
            y=list(ys),
            name=plain(name),
            mode="lines+markers",
            line=_line(n) | {"width": 1},
            marker={"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 7},
            text=[plain(text) for text in texts[n]] if texts else None,
            hovertemplate="%{text}<extra></extra>" if texts else _hover(x, "%{x:,}", y),
        )
    xs, ys = ([v for pair in series.values() for v in pair[side]] for side in (0, 1))
    fig.update_xaxes(**_log_ticks(xs))
    fig.update_yaxes(**_log_ticks(ys))
    return fig


def _log_ticks(values: Sequence[float]) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 of each decade where a log axis spans less than two: it could have one tick, or none."""
    positive = [v for v in values if v > 0]
    if not positive or max(positive) / min(positive) >= 100:
        return {}
    at = [m * 10.0**e for e in range(int(np.floor(np.log10(min(positive)))), int(np.ceil(np.log10(max(positive)))) + 1) for m in (1, 2, 5)]
    return {"tickvals": at, "ticktext": [f"{v:,g}" for v in at]}


def lorenz(
    curves: Mapping[str, tuple[Sequence, Sequence]], x: str = "Share of items, least popular first", y: str = "Share of interactions"
) -> go.Figure:
    """Lorenz curves (both axes 0 to 1) beside the line of equality."""
    fig = figure(x, y, legend=len(curves) > 1)
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dot", "width": 1.5}, name="All equal", hoverinfo="skip"
    )
    for n, (name, (xs, ys)) in enumerate(curves.items()):
        fig.add_scatter(
            x=list(xs),
            y=list(ys),
            mode="lines",
            name=plain(name),
            line=_line(n),
            hovertemplate=plain(name) + "<br>%{x:.0%} of items<br>%{y:.1%} of the total<extra></extra>",
        )
    fig.update_xaxes(range=[0, 1], tickformat=".0%")
    fig.update_yaxes(range=[0, 1.005], tickformat=".0%")
    return fig


def scatter(
    names: Sequence[str], xs: Sequence[float], ys: Sequence[float], x: str, y: str, *, front: Sequence[int] = (), digits: str = ".4f"
) -> go.Figure:
    """Named points; `front` are the positions on the Pareto front, drawn filled and joined, the others hollow."""
    fig = figure(x, y, height=380)
    on, labels = set(front), [plain(name) for name in names]
    if front:
        order = sorted(front, key=lambda i: xs[i])
        fig.add_scatter(
            x=[xs[i] for i in order], y=[ys[i] for i in order], mode="lines", line={"color": MUTED, "dash": "dot"}, hoverinfo="skip"
        )
    fig.add_scatter(
        x=list(xs),
        y=list(ys),
        text=labels,
        mode="markers+text",
        textposition="top center",
        cliponaxis=False,
        marker={"size": 11, "color": accent(), "symbol": ["circle" if not front or i in on else "circle-open" for i in range(len(labels))]},
        hovertemplate=f"%{{text}}<br>{plain(x)} %{{x:{digits}}}<br>{plain(y)} %{{y:{digits}}}<extra></extra>",
    )
    return fig


def heatmap(values: np.ndarray, rows: Sequence[str], columns_: Sequence[str], *, what: str, digits: str = ".2f") -> go.Figure:
    """A labelled matrix with its figures written in."""
    fig = figure("", "", height=120 + 36 * len(rows))
    scale = [[0, "rgba(128,128,128,0.06)"], [1, accent()]]
    hover = f"%{{y}} and %{{x}}<br>{plain(what)} %{{z:{digits}}}<extra></extra>"
    fig.add_heatmap(
        z=values,
        x=[plain(c) for c in columns_],
        y=[plain(r) for r in rows],
        colorscale=scale,
        showscale=False,
        xgap=2,
        ygap=2,
        texttemplate=f"%{{z:{digits}}}",
        hovertemplate=hover,
    )
    fig.update_yaxes(autorange="reversed", showgrid=False)
    return fig
