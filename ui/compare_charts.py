"""Figures of the Compare page: a model has one colour, dash and marker in all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .charts import DASHES, GRID, MUTED, SYMBOLS, figure, palette, plain, series_color
from .text import short

NAME_LENGTH = 34
MARKERS = 10  # along one line; they tell lines apart without colour
ACRONYM = re.compile(r"^[^()]+ \(([^\s()]*[A-Z][^\s()]*)\)")  # "Self-attention over the sequence (SASRec)", not "… (2)"
LABELLED = 8  # points of a scatter that are named beside them; beyond, only those on the front


@dataclass(frozen=True)
class Look:
    """How a run is drawn. position: its place among all runs of its group, whatever is shown."""

    name: str
    position: int

    @property
    def label(self) -> str:
        return plain(fitted(self.name))

    @property
    def color(self) -> str:
        return series_color(self.position)

    @property
    def dash(self) -> str:
        return DASHES[(self.position // len(palette())) % len(DASHES)]

    @property
    def symbol(self) -> str:
        return SYMBOLS[(self.position + self.position // len(palette())) % len(SYMBOLS)]

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.color, "width": 2, "dash": self.dash}


def fitted(name: str, length: int = NAME_LENGTH) -> str:
    """A name as it fits a legend: a long one goes by the short name of its model, where it has one."""
    return name if len(name) <= length else short(ACRONYM.sub(r"\1", name), length)


def looks(names: Mapping[str, str], positions: Mapping[str, int]) -> dict[str, Look]:
    """Run id -> look; names that are cut to the same text get a number, so that no two look alike."""
    out: dict[str, Look] = {}
    used: dict[str, int] = {}
    for run_id, name in names.items():
        cut = fitted(name)
        used[cut] = used.get(cut, 0) + 1
        shown = cut if used[cut] == 1 else f"{fitted(name, NAME_LENGTH - 4)} ·{used[cut]}"
        out[run_id] = Look(shown, positions[run_id])
    return out


def curves(series: Sequence[tuple[Look, Sequence[float], Sequence[float]]], x: str, y: str, *, height: int = 340) -> go.Figure:
    """One line a run."""
    fig = figure(x, y, legend=len(series) > 1, height=height)
    for look, xs, ys in series:
        fig.add_scatter(
            x=list(xs),
            y=list(ys),
            name=look.label,
            mode="lines+markers",
            line=look.line,
            marker={"symbol": look.symbol, "size": 7, "maxdisplayed": MARKERS},
            hovertemplate=f"{look.label}<br>{plain(x)} %{{x}}<br>{plain(y)} %{{y:.4f}}<extra></extra>",
        )
    return fig


def lorenz(series: Sequence[tuple[Look, Sequence[float], Sequence[float]]]) -> go.Figure:
    """Exposure curves beside the line of equality."""
    fig = figure("Share of the catalogue, least shown items first", "Share of all places", legend=True, height=380)
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "dash": "dot", "width": 1.5}, name="All equal", hoverinfo="skip"
    )
    for look, xs, ys in series:
        hover = look.label + "<br>%{x:.0%} of the items<br>%{y:.1%} of the places<extra></extra>"
        marker = {"symbol": look.symbol, "size": 7, "maxdisplayed": MARKERS}
        fig.add_scatter(x=list(xs), y=list(ys), mode="lines+markers", name=look.label, line=look.line, marker=marker, hovertemplate=hover)
    fig.update_xaxes(range=[0, 1], tickformat=".0%")
    fig.update_yaxes(range=[0, 1.005], tickformat=".0%")
    return fig


def trade_off(points: Sequence[tuple[Look, float, float]], x: str, y: str, front: Sequence[int]) -> go.Figure:
    """Two measures against each other; those on the Pareto front are filled, joined and named."""
    fig = figure(x, y, height=400)
    on = set(front)
    order = sorted(front, key=lambda i: points[i][1])
    if len(order) > 1:
        fig.add_scatter(
            x=[points[i][1] for i in order],
            y=[points[i][2] for i in order],
            mode="lines",
            line={"color": MUTED, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
        )
    named_points = [n for n in range(len(points)) if n in on or len(points) <= LABELLED]
    where = _label_places([(points[n][1], points[n][2]) for n in range(len(points))], named_points)
    for n, (look, across, up) in enumerate(points):
        named = n in where
        symbol = look.symbol if n in on or look.symbol in ("x", "cross") else f"{look.symbol}-open"
        fig.add_scatter(
            x=[across],
            y=[up],
            mode="markers+text" if named else "markers",
            text=[look.label],
            textposition=where.get(n, "top center"),
            cliponaxis=False,
            marker={"size": 12, "color": look.color, "symbol": symbol, "line": {"width": 2 if n not in on else 1, "color": look.color}},
            hovertemplate=f"{look.label}<br>{plain(x)} %{{x:.4f}}<br>{plain(y)} %{{y:.4f}}<extra></extra>",
        )
    _room(fig, [p[1] for p in points], [p[2] for p in points])
    return fig


def _label_places(points: Sequence[tuple[float, float]], named: Sequence[int]) -> dict[int, str]:
    """Beside which side of each named point its name fits, without covering another name or point."""
    spots = np.asarray(points, dtype=float)
    span = np.maximum(spots.max(axis=0) - spots.min(axis=0), 1e-12)
    spots = (spots - spots.min(axis=0)) / span
    offsets = {"top center": (0, 0.06), "bottom center": (0, -0.06), "middle right": (0.1, 0), "middle left": (-0.1, 0)}
    taken: list[np.ndarray] = []
    out: dict[int, str] = {}
    for n in sorted(named, key=lambda i: -spots[i, 1]):
        crowd = np.array([*np.delete(spots, n, axis=0), *taken]).reshape(-1, 2)

        def free(place: str, n: int = n, crowd: np.ndarray = crowd) -> float:
            across = spots[n, 0] + offsets[place][0]
            inside = 0.0 if offsets[place][0] and not 0.15 < across < 0.85 else 1.0  # a name beside an outer point would be cut off
            away = np.abs(crowd - (spots[n] + offsets[place])) / (0.16, 0.05)
            return inside * (float(np.minimum(away.max(axis=1), 1).min()) if len(crowd) else 1.0)

        out[n] = max(offsets, key=free)  # the first of the freest
        taken.append(spots[n] + offsets[out[n]])
    return out


def _room(fig: go.Figure, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Space around the points for their names."""
    for axis, values, share in (("x", xs, 0.16), ("y", ys, 0.14)):
        low, high = float(np.min(values)), float(np.max(values))
        pad = (high - low or abs(high) or 1.0) * share
        fig.update_layout({f"{axis}axis_range": [low - pad, high + pad]})


def dots(
    rows: Sequence[Look], groups: Mapping[str, tuple[Sequence[float], Sequence[float] | None, Sequence[float] | None]], x: str
) -> go.Figure:
    """A row a run, a marker a segment, with interval ends: who (or what) is served how well."""
    fig = figure(x, "", legend=True, height=120 + (30 + 6 * len(groups)) * len(rows))
    labels = [look.label for look in rows]
    for n, (segment, (values, low, high)) in enumerate(groups.items()):
        offset = (n - (len(groups) - 1) / 2) * min(0.2, 0.84 / len(groups))
        symbol = SYMBOLS[n % len(SYMBOLS)] + ("" if n < len(SYMBOLS) else "-open")
        error = None
        if low is not None and high is not None:
            middle = np.asarray(values, dtype=float)
            error = {
                "type": "data",
                "symmetric": False,
                "array": np.asarray(high, dtype=float) - middle,
                "arrayminus": middle - np.asarray(low, dtype=float),
                "color": MUTED,
                "thickness": 1.5,
                "width": 3,
            }
        key = {"symbol": symbol, "size": 10, "color": MUTED}
        fig.add_scatter(x=[None], y=[None], name=plain(segment), mode="markers", marker=key)
        fig.add_scatter(
            x=list(values),
            y=np.arange(len(rows)) + offset,
            name=plain(segment),
            mode="markers",
            cliponaxis=False,
            error_x=error,
            marker={"symbol": symbol, "size": 10, "color": [look.color for look in rows]},
            showlegend=False,
            customdata=labels,
            hovertemplate=f"%{{customdata}}<br>{plain(segment)}<br>{plain(x)} %{{x:.4f}}<extra></extra>",
        )
    for edge in range(1, len(rows)):
        fig.add_hline(y=edge - 0.5, line={"color": GRID, "width": 1})
    fig.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels, range=[len(rows) - 0.5, -0.5], showgrid=False, title=None)
    fig.update_xaxes(showgrid=True, rangemode="tozero")
    return fig


def amounts(rows: Sequence[Look], values: Sequence[float], x: str, texts: Sequence[str], *, log: bool = False) -> go.Figure:
    """A bar a run with its amount written at the end."""
    fig = figure(x, "", height=70 + 34 * len(rows), log_x=log)
    fig.add_bar(
        x=list(values),
        y=[look.label for look in rows],
        orientation="h",
        marker_color=[look.color for look in rows],
        text=[plain(text) for text in texts],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}<br>%{text}<extra></extra>",
    )
    fig.update_layout(bargap=0.4)
    fig.update_yaxes(autorange="reversed", showgrid=False, title=None)
    highest = float(np.nanmax(values)) if len(values) else 1.0
    if not log:
        fig.update_xaxes(range=[0, highest * 1.25 or 1.0], showgrid=True)
    return fig
