"""Figures of the Compare page about differences: forests, gaps, strips of repeats, proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from recsys_core.evaluation import Difference

from .charts import MUTED, figure, plain
from .compare_charts import Look
from .interval_charts import intervals, name_rows


def forest(labels: Sequence[str], found: Sequence[Difference], label: str) -> go.Figure:
    """A row a difference in percent of A (its own unit where A is 0), filled where it is clear. labels: plain text."""
    percent = all(np.isfinite(d.relative) and d.mean_a > 0 for d in found)
    scale = [100 / d.mean_a if percent else 1.0 for d in found]
    rows = [(name, s * d.difference, s * d.low, s * d.high, d.clear) for name, s, d in zip(labels, scale, found, strict=True)]
    return gaps(rows, f"Difference in {label}, %" if percent else f"Difference in {label}", digits="+.1f" if percent else "+.4f")


def gaps(rows: Sequence[tuple[str, float, float, float, bool]], x: str, *, digits: str = ".4f") -> go.Figure:
    """(name, value, low, high, clear): a point with its interval, first on top, beside the line of no difference."""
    names, values, low, high, clear = (list(part) for part in zip(*rows, strict=True))
    return intervals(names, values, low, high, x, clear=clear, digits=digits)


def strips(rows: Sequence[tuple[Look, np.ndarray, Sequence[str]]], x: str) -> go.Figure:
    """A row an experiment: a point a repeat, and a bar at their mean. texts: what each point is."""
    fig = figure(x, "", height=110 + 40 * len(rows))
    for n, (look, values, texts) in enumerate(rows):
        mean = float(np.nanmean(values))
        fig.add_scatter(x=[mean, mean], y=[n - 0.28, n + 0.28], mode="lines", line={"color": look.color, "width": 3}, hoverinfo="skip")
        fig.add_scatter(
            x=list(values),
            y=[n] * len(values),
            mode="markers",
            marker={"symbol": look.symbol, "size": 10, "color": look.color, "opacity": 0.75},
            customdata=list(texts),
            hovertemplate=f"{look.label}<br>%{{customdata}}: %{{x:.4f}}<extra></extra>",
        )
    name_rows(fig, [look.label for look, _, _ in rows])
    return fig


def proportions(table: pd.DataFrame, look: Look) -> go.Figure:
    """A row a group of items: its share of the exposure with an interval, of the choices, of the catalogue."""
    fig = figure("Share", "", legend=True, height=130 + 34 * len(table))
    at = list(range(len(table)))
    names = [plain(name) for name in table["group"]]
    for part, name, symbol in (("catalogue", "Catalogue", "square-open"), ("interactions", "What people chose", "diamond-open")):
        fig.add_scatter(
            x=table[part],
            y=at,
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 10, "color": MUTED, "line": {"width": 2}},
            customdata=names,
            hovertemplate=f"%{{customdata}}<br>{name} %{{x:.1%}}<extra></extra>",
        )
    middle = table["exposure"].to_numpy()
    error = {"type": "data", "symmetric": False, "array": table["high"] - middle, "arrayminus": middle - table["low"]}
    fig.add_scatter(
        x=middle,
        y=at,
        mode="markers",
        name="Exposure",
        error_x=error | {"color": MUTED, "thickness": 1.5, "width": 4},
        marker={"symbol": "circle", "size": 11, "color": look.color},
        customdata=names,
        hovertemplate="%{customdata}<br>Exposure %{x:.1%}<extra></extra>",
    )
    name_rows(fig, names)
    fig.update_xaxes(tickformat=".0%", rangemode="tozero")
    return fig
