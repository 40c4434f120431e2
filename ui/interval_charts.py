"""Charts of estimates with their intervals: one row each, or a band over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .charts import GRID, MUTED, accent, figure, plain


def intervals(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    x: str,
    *,
    clear: Sequence[bool] | None = None,
    zero: bool = True,
    digits: str = ".3g",
) -> go.Figure:
    """A point with its interval for each name (made `plain`), first on top. clear: which points are filled (all when None); zero: with the
    line of no difference."""
    fig = figure(x, "", height=100 + 32 * len(names))
    middle = np.asarray(values, dtype=float)
    sure = [True] * len(names) if clear is None else list(clear)
    told = [""] * len(names) if clear is None else ["<br>clear" if one else "<br>not clear" for one in sure]
    if zero:
        fig.add_vline(x=0, line={"color": MUTED, "width": 1.5})
    fig.add_scatter(
        x=middle,
        y=list(range(len(names))),
        mode="markers",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.asarray(high) - middle,
            "arrayminus": middle - np.asarray(low),
            "color": MUTED,
            "thickness": 1.5,
            "width": 4,
        },
        marker={
            "size": 11,
            "color": accent(),
            "symbol": ["circle" if one else "circle-open" for one in sure],
            "line": {"width": 2, "color": accent()},
        },
        customdata=list(zip(names, low, high, told, strict=True)),
        hovertemplate=f"%{{customdata[0]}}<br>%{{x:{digits}}} (%{{customdata[1]:{digits}}} to %{{customdata[2]:{digits}}})"
        "%{customdata[3]}<extra></extra>",
    )
    name_rows(fig, names)
    return fig


def name_rows(fig: go.Figure, names: Sequence[str]) -> None:
    """One line of the figure for each name, first on top."""
    for edge in range(1, len(names)):
        fig.add_hline(y=edge - 0.5, line={"color": GRID, "width": 1})
    fig.update_yaxes(tickvals=list(range(len(names))), ticktext=list(names), range=[len(names) - 0.5, -0.5], showgrid=False, title=None)
    fig.update_xaxes(showgrid=True)


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
