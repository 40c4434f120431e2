"""Figures of how far a few clicks go: accuracy by the number of clicks, and what the learning steps add."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from .charts import MUTED, SYMBOLS, figure, plain, series_color
from .compare_charts import fitted

Point = Mapping[str, Any]  # {"shots", "mean", "low", "high"}

# Model key -> colour, so that a model looks the same in every comparison. Models that adapt have the strong ones.
STRONG = {"anil": 0, "fomaml": 5, "proximal_meta": 2, "maml": 4, "reptile": 3, "melu": 1, "meta_average": 6}
QUIET = {"ease": 1, "als": 3, "popular": 6, "fine_tuned": 4, "item_knn": 1, "mult_vae": 3, "content_knn": 6}
DOTTED = ("item_knn", "mult_vae", "content_knn")  # their colour belongs to another one already
DASHES = ("solid", "dot", "dashdot", "longdashdot")  # "dash" is kept for the network before it learns
BEFORE = "before it learns from the clicks"
FEW = 3  # lines up to which all have a band


@dataclass(frozen=True)
class Look:
    """How a model is drawn. strong: one that adapts, whose line is thick."""

    name: str
    color: str
    dash: str
    symbol: str
    strong: bool

    @property
    def label(self) -> str:
        return plain(self.name)

    def tint(self, opacity: float) -> str:
        red, green, blue = (int(self.color[n : n + 2], 16) for n in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity})"


def looks(models: Sequence[Mapping[str, Any]], places: Mapping[str, int]) -> dict[str, Look]:
    """Run id -> look, for the models of a result. places: run id -> its place among all results of its model: a second result of the
    same model differs from the first by dash and marker, whatever else is drawn."""
    out: dict[str, Look] = {}
    names: dict[str, int] = {}
    for model in models:
        key, place = str(model["model"]), places.get(model["run"], 0)
        known = STRONG if model["adapts"] and key != "fine_tuned" else QUIET
        spare = sum(map(ord, key))  # a model of somebody else: any colour, but always the same one
        color = known.get(key, spare)
        dash = DASHES[(place + (key in DOTTED)) % len(DASHES)]
        symbol = SYMBOLS[(list(known).index(key) if key in known else spare) % len(SYMBOLS)]
        cut = fitted(str(model["name"]))
        names[cut] = names.get(cut, 0) + 1
        name = cut if names[cut] == 1 else f"{cut} ·{names[cut]}"
        out[model["run"]] = Look(name, series_color(color), dash, symbol + "-open" * (place % 2), known is STRONG)
    return out


def few_clicks(models: Sequence[Mapping[str, Any]], drawn: Mapping[str, Look], measure: str) -> go.Figure:
    """A line a model: the mean over users after 0, 1, 2 … clicks. Models that adapt are thick, in the band of their 95 % interval, and
    dashed as they are without a learning step; intervals of the others are told on hovering."""
    shots = sorted({point["shots"] for model in models for point in model["curve"]})
    n_rows = len(models) + any(model["unadapted"] for model in models)
    fig = _by_clicks(shots, measure, height=360 + 12 * n_rows, rows=n_rows)
    ordered = sorted(models, key=lambda model: drawn[model["run"]].strong)  # thick lines lie on top
    for model in ordered:
        if drawn[model["run"]].strong or len(models) <= FEW:  # ten bands on each other are mud
            _band(fig, model["curve"], drawn[model["run"]], model["run"])
    for model in ordered:
        look = drawn[model["run"]]
        if model["unadapted"]:
            line = {"color": look.color, "width": 1.6, "dash": "dash"}
            _line(fig, model["unadapted"], f"{look.label}, {BEFORE}", measure, mode="lines", line=line, group=model["run"], shown=False)
        width = 3.5 if look.strong else 1.6
        marker = {"symbol": look.symbol, "size": 9 if look.strong else 7, "color": look.color}
        line = {"color": look.color, "width": width, "dash": look.dash}
        rank = models.index(model)  # the legend says who is best, first
        _line(fig, model["curve"], look.label, measure, mode="lines+markers", line=line, marker=marker, group=model["run"], rank=rank)
    if any(model["unadapted"] for model in models):
        line = {"color": MUTED, "width": 1.6, "dash": "dash"}
        fig.add_scatter(x=[None], y=[None], mode="lines", line=line, name=f"Dashed: {BEFORE}", legendrank=1000 + len(models))
    return fig


def gains(models: Sequence[Mapping[str, Any]], drawn: Mapping[str, Look], measure: str) -> go.Figure:
    """Adapted minus not adapted, by the number of clicks, with intervals; filled where it is clear."""
    with_gain = [model for model in models if model["gain"]]
    shots = sorted({point["shots"] for model in with_gain for point in model["gain"]} - {0})  # nothing was learnt from nothing
    fig = _by_clicks(shots, f"{measure} gained", height=300 + 12 * len(with_gain), rows=len(with_gain))
    fig.add_hline(y=0, line={"color": MUTED, "width": 1.5})
    for n, model in enumerate(with_gain):
        look, points = drawn[model["run"]], [point for point in model["gain"] if point["shots"] in shots]
        aside = (n - (len(with_gain) - 1) / 2) * 0.07  # so that intervals stand beside each other
        middle = [point["mean"] for point in points]
        told = [[point["shots"], point["low"], point["high"], "clear" if point.get("clear") else "not clear"] for point in points]
        fig.add_scatter(
            x=[_place(point["shots"]) + aside for point in points],
            y=middle,
            name=look.label,
            mode="lines+markers",
            line={"color": look.color, "width": 1.6, "dash": look.dash},
            marker={
                "symbol": [look.symbol.removesuffix("-open") + "-open" * (not point.get("clear")) for point in points],
                "size": 10, "color": look.color, "line": {"width": 2, "color": look.color},
            },
            error_y={
                "type": "data", "symmetric": False, "color": look.tint(0.7), "thickness": 1.5, "width": 4,
                "array": [point["high"] - point["mean"] for point in points],
                "arrayminus": [point["mean"] - point["low"] for point in points],
            },
            customdata=told,
            hovertemplate=f"{look.label}<br>%{{customdata[0]}} clicks: %{{y:+.4f}}"
            " (%{customdata[1]:+.4f} to %{customdata[2]:+.4f})<br>%{customdata[3]}<extra></extra>",
        )  # fmt: skip
    fig.update_layout(showlegend=len(with_gain) > 1)
    return fig


def _place(shots: float) -> float:
    """Where a number of clicks stands: the first ones get the room, since most happens there."""
    return math.log2(1 + shots)


def _by_clicks(shots: Sequence[int], y: str, *, height: int, rows: int) -> go.Figure:
    fig = figure("Clicks of a new user", y, height=height, legend=rows > 1)
    fig.update_xaxes(tickvals=[_place(s) for s in shots], ticktext=[str(s) for s in shots])
    fig.update_layout(legend={"yanchor": "top", "y": -0.16, "traceorder": "normal", "itemwidth": 36})
    return fig


def _band(fig: go.Figure, points: Sequence[Point], look: Look, group: str) -> None:
    known = [point for point in points if point["low"] is not None and point["high"] is not None]
    xs = [_place(point["shots"]) for point in known]
    fig.add_scatter(
        x=xs + xs[::-1], y=[p["high"] for p in known] + [p["low"] for p in known][::-1], fill="toself", mode="none",
        fillcolor=look.tint(0.13 if look.strong else 0.07), hoverinfo="skip", showlegend=False, legendgroup=group,
    )  # fmt: skip


def _line(
    fig: go.Figure, points: Sequence[Point], name: str, measure: str, *, group: str, shown: bool = True, rank: int = 0, **style: Any
) -> None:
    fig.add_scatter(
        x=[_place(point["shots"]) for point in points],
        y=[point["mean"] for point in points],
        name=name,
        legendgroup=group,
        legendrank=rank + 1,
        showlegend=shown,
        customdata=[[point["shots"], point["low"], point["high"]] for point in points],
        hovertemplate=f"{name}<br>%{{customdata[0]}} clicks: {plain(measure)} %{{y:.4f}}"
        " (%{customdata[1]:.4f} to %{customdata[2]:.4f})<extra></extra>",
        **style,
    )
