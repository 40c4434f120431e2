"""Charts of estimates with their intervals: one row each, or a band over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .charts import MUTED, accent, figure, plain


def intervals(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    x: str,
    *,
    zero: bool = True,
    digits: str = ".3g",
) -> go.Figure:
    """A point with its interval for each name, first on top; zero: with the line of "no difference"."""
    fig = figure(x, "", height=90 + 34 * len(names))
    values = np.asarray(values, dtype=float)
    fig.add_scatter(
        x=values,
        y=[plain(name) for name in names],
        mode="markers",
        marker={"size": 10, "color": accent()},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.asarray(high) - values,
            "arrayminus": values - np.asarray(low),
            "thickness": 1.6,
        },
        customdata=np.column_stack([low, high]),
        hovertemplate=f"%{{y}}<br>%{{x:{digits}}} (%{{customdata[0]:{digits}}} to %{{customdata[1]:{digits}}})<extra></extra>",
    )
    fig.update_yaxes(autorange="reversed", showgrid=False, title=None, type="category")
    fig.update_xaxes(showgrid=True)
    if zero:
        fig.add_vline(x=0, line_color=MUTED, line_width=1)
    return fig


def band(x_values: Sequence[Any], middle: Sequence[float], low: Sequence[float], high: Sequence[float], x: str, y: str) -> go.Figure:
    """A line with the band of its interval, and the line of "no difference"."""
    fig = figure(x, y)
    edges = list(x_values) + list(x_values)[::-1]
    fig.add_scatter(
        x=edges,
        y=[*high, *list(low)[::-1]],
        fill="toself",
        mode="none",
        fillcolor="rgba(86,140,200,0.22)",
        hoverinfo="skip",
        showlegend=False,
    )
    fig.add_scatter(
        x=list(x_values),
        y=list(middle),
        mode="lines+markers",
        line={"color": accent(), "width": 2},
        marker={"size": 6},
        customdata=np.column_stack([low, high]),
        hovertemplate=f"%{{x}}<br>{plain(y)} %{{y:.3g}} (%{{customdata[0]:.3g}} to %{{customdata[1]:.3g}})<extra></extra>",
        showlegend=False,
    )
    fig.add_hline(y=0, line_color=MUTED, line_width=1)
    return fig
