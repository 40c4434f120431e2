"""Figures of the Diversity page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from recsys_core.evaluation import metric_label

from .charts import DASHES, GRID, MUTED, SYMBOLS, accent, figure, plain, series_color
from .diversity_words import higher_is_better, strength_text, value_of

Points = Sequence[Mapping[str, Any]]


def curve(points: Points, other: str, accuracy: str, now: int) -> go.Figure:
    """Accuracy against the other metric, one point a strength, 95 % whiskers. now: position of the current point."""
    x, y = metric_label(other), metric_label(accuracy)
    fig = _better_to_the_right(figure(x, y, height=290), other)
    across, up = [value_of(p, other) for p in points], [value_of(p, accuracy) for p in points]
    texts = [f"Strength {strength_text(p['strength'])}" for p in points]
    hover = f"%{{text}}<br>{plain(x)} %{{x:.4f}}<br>{plain(y)} %{{y:.4f}}<extra></extra>"
    fig.add_scatter(
        x=[v.mean for v in across],
        y=[v.mean for v in up],
        text=texts,
        mode="lines+markers",
        line={"color": accent(), "width": 2},
        marker={"size": 6, "color": accent()},
        error_x=_whiskers(across),
        error_y=_whiskers(up),
        hovertemplate=hover,
    )
    for position, name, symbol, size, side in (
        (0, "As it was", "diamond-open", 12, "top center"),
        (now, "Now", "circle", 15, "bottom center"),
    ):
        fig.add_scatter(
            x=[across[position].mean],
            y=[up[position].mean],
            text=[name],
            customdata=[texts[position]],
            mode="markers+text",
            textposition=side,
            cliponaxis=False,
            marker={"size": size, "symbol": symbol, "color": series_color(5), "line": {"width": 2, "color": series_color(5)}},
            hovertemplate=hover.replace("%{text}", "%{customdata}"),
        )
    return fig


def _better_to_the_right(fig: go.Figure, name: str) -> go.Figure:
    """Where less is better the axis is turned round, so that the curve goes the way the slider goes."""
    if not higher_is_better(name):
        fig.update_xaxes(autorange="reversed", title=f"{metric_label(name)} (less is better, to the right)")
    return fig


def _whiskers(values: Sequence[Any]) -> dict[str, Any]:
    mean = np.array([v.mean for v in values], dtype=float)
    low, high = np.array([v.low for v in values], dtype=float), np.array([v.high for v in values], dtype=float)
    around = {"type": "data", "symmetric": False, "array": high - mean, "arrayminus": mean - low}
    return around | {"color": MUTED, "thickness": 1, "width": 0, "visible": bool(np.isfinite(low).any())}


def methods(curves: Mapping[str, Points], positions: Mapping[str, int], other: str, accuracy: str) -> go.Figure:
    """One line a method, from the list as it was. positions: a method keeps its colour whatever is shown."""
    x, y = metric_label(other), metric_label(accuracy)
    fig = _better_to_the_right(figure(x, y, height=420, legend=True), other)
    for label, points in curves.items():
        n = positions[label]
        fig.add_scatter(
            x=[value_of(p, other).mean for p in points],
            y=[value_of(p, accuracy).mean for p in points],
            text=[f"Strength {strength_text(p['strength'])}" for p in points],
            name=plain(label),
            mode="lines+markers",
            line={"color": series_color(n), "width": 2, "dash": DASHES[n % len(DASHES)]},
            marker={"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 7},
            hovertemplate=f"{plain(label)}<br>%{{text}}<br>{plain(x)} %{{x:.4f}}<br>{plain(y)} %{{y:.4f}}<extra></extra>",
        )
    first = next(iter(curves.values()))[0]
    fig.add_scatter(
        x=[value_of(first, other).mean],
        y=[value_of(first, accuracy).mean],
        name="As the model lists them",
        mode="markers",
        marker={"size": 12, "symbol": "diamond-open", "color": MUTED, "line": {"width": 2, "color": MUTED}},
        hoverinfo="skip",
    )
    return fig


def shares(names: Sequence[str], parts: Mapping[str, Sequence[float]]) -> go.Figure:
    """What a history and two lists are made of: a group of bars a category, one bar a part."""
    fig = figure("", "", height=80 + 38 * len(names), legend=True)
    looks = ((MUTED, ""), (series_color(1), "/"), (accent(), ""))
    for (part, values), (color, pattern) in zip(parts.items(), looks, strict=True):
        fig.add_bar(
            x=list(values),
            y=[plain(name) for name in names],
            orientation="h",
            name=part,
            marker={"color": color, "pattern": {"shape": pattern}},
            hovertemplate=f"%{{y}}<br>{part} %{{x:.0%}}<extra></extra>",
        )
    # Room for the legend from the start: where it has to push, a chart redrawn in place lies over it for a moment.
    fig.update_layout(barmode="group", bargap=0.25, legend={"traceorder": "normal"}, margin_t=34)
    fig.update_yaxes(autorange="reversed", showgrid=False, title=None)
    fig.update_xaxes(tickformat=".0%", showgrid=True, gridcolor=GRID, rangemode="tozero", title=None, nticks=5)
    return fig
