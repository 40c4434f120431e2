"""Parallel coordinates of a study: one line a trial through its settings to its result, readable on a phone too."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from recsys_core.evaluation import higher_is_better, metric_label

from . import charts
from .text import number, short
from .tune_charts import is_log, is_number, told
from .tune_data import Trial, View, figure

AXES = 6  # the objective among them: more cannot be read
LABEL = 16
SHADES = 6
SCALE_LIGHT = [[0.0, "#C9D6DF"], [0.5, "#64A6D0"], [1.0, "#00395B"]]
SCALE_DARK = [[0.0, "#33424F"], [0.5, "#3792BC"], [1.0, "#D3ECFA"]]


def color_scale() -> list[list[Any]]:
    """From hardly seen to clearly seen, on either background."""
    return SCALE_DARK if charts.dark() else SCALE_LIGHT


def parallel(view: View, names: Sequence[str]) -> go.Figure:
    """One line a trial through its settings to its result: the better, the stronger; the best and the defaults stand out."""
    metric = view.objectives[0]
    shown = list(names)[: AXES - 1]
    trials = [t for t in view.complete if all(name in t.get("params", {}) for name in shown)]
    sign = 1 if higher_is_better(metric) else -1
    trials.sort(key=lambda t: sign * t["values"][0])  # the best on top
    axes = [_axis(view, name, [t["params"][name] for t in trials]) for name in shown]
    results = [float(t["values"][0]) for t in trials]
    axes.append(_number_axis(metric_label(metric), results, results, [figure(v, metric) for v in (min(results), max(results))]))
    fig = charts.figure("", "", height=360)
    _lines(fig, view, trials, axes)
    across = list(range(len(axes)))
    for x in across:
        fig.add_vline(x=x, line={"color": charts.GRID, "width": 2}, layer="below")
    for x, axis in zip(across, axes, strict=True):
        for at, text in axis.ticks:
            beyond = {0.0: -12, 1.0: 12}.get(at)  # ends of numbers stand beyond the lines, names of choices on them
            place = {"yshift": beyond} if beyond else {"xanchor": "left", "xshift": 6}
            fig.add_annotation(x=x, y=at, text=text, showarrow=False, font={"size": 11}, **place, **_plate())
    fig.update_xaxes(tickvals=across, ticktext=[axis.label for axis in axes], range=[-0.3, len(axes) - 0.7], ticklabeloverflow="allow")
    fig.update_layout(margin={"l": 16, "r": 16})
    fig.update_yaxes(visible=False, range=[-0.14, 1.14])
    return fig


@dataclass(frozen=True)
class Axis:
    """One upright axis. at: the place of each trial, 0 to 1; ticks: (place, text)."""

    label: str
    at: list[float]
    ticks: list[tuple[float, str]]


def _lines(fig: go.Figure, view: View, trials: Sequence[Trial], axes: Sequence[Axis]) -> None:
    """Grouped into a few shades, so that hundreds of trials are few traces; then what stands out, each a trace of its own."""
    best, xs = view.best["number"] if view.best else None, list(range(len(axes)))
    standing = {0: (charts.series_color(2), "dash", "Defaults"), best: (charts.series_color(1), "solid", "Best")}
    shades = sample_colorscale(color_scale(), [n / (SHADES - 1) for n in range(SHADES)])
    for n, color in enumerate(shades):
        rows = [i for i, t in enumerate(trials) if t["number"] not in standing and i * SHADES // len(trials) == n]
        x = [v for _ in rows for v in (*xs, None)]
        y = [v for i in rows for v in (*(axis.at[i] for axis in axes), None)]
        text = [v for i in rows for v in (*[_told_short(view, trials[i])] * len(xs), None)]
        if rows:
            fig.add_scatter(x=x, y=y, text=text, mode="lines", line={"color": color, "width": 1.3}, hovertemplate="%{text}<extra></extra>")
    for i, t in enumerate(trials):
        if t["number"] in standing:
            color, dash, name = standing[t["number"]]
            fig.add_scatter(
                x=xs,
                y=[axis.at[i] for axis in axes],
                name=name,
                showlegend=True,
                mode="lines+markers",
                line={"color": color, "width": 3, "dash": dash},
                text=[told(view, t)] * len(xs),
                hovertemplate="%{text}<extra></extra>",
            )
    fig.update_layout(showlegend=True)
    fig.update_traces(showlegend=False, selector=lambda trace: not trace.name)


def _told_short(view: View, trial: Trial) -> str:
    """Which trial and what it reached: the rest is written along the line."""
    metric = view.objectives[0]
    return f"Trial {trial['number']}<br>{charts.plain(metric_label(metric))} {figure(trial['values'][0], metric)}"


def _plate() -> dict[str, Any]:
    """Behind a text on the lines, so that it can be read."""
    return {"bgcolor": "rgba(18,22,27,0.75)" if charts.dark() else "rgba(255,255,255,0.75)", "borderpad": 1}


def _axis(view: View, name: str, values: Sequence[Any]) -> Axis:
    label = _wrapped(view.label(name))
    if not all(is_number(v) for v in values):
        known = list(dict.fromkeys(view.said(name, v) for v in values))
        place = {v: (n + 0.5) / len(known) for n, v in enumerate(known)}
        return Axis(label, [place[view.said(name, v)] for v in values], [(place[v], charts.plain(short(v, LABEL))) for v in known])
    log = is_log(view, name, values)
    drawn = [math.log10(v) if log else float(v) for v in values]
    ends = (min(drawn), max(drawn))
    return _number_axis(label, drawn, drawn, [_brief(10**v if log else v) for v in ends])


def _number_axis(label: str, drawn: Sequence[float], span: Sequence[float], ends: Sequence[str]) -> Axis:
    low, high = min(span), max(span)
    if high - low <= 1e-12 * max(1.0, abs(high)):
        return Axis(label, [0.5] * len(drawn), [(0.5, ends[0])])
    return Axis(label, [(v - low) / (high - low) for v in drawn], [(0.0, ends[0]), (1.0, ends[1])])


def _brief(value: float) -> str:
    """Two digits, or whole: there is little room."""
    return number(value, 2) if abs(value) < 99.5 else f"{value:,.0f}"


def _wrapped(label: str) -> str:
    """A long label over two or three lines: "Popularity<br>correction"."""
    return "<br>".join(charts.plain(line) for line in textwrap.wrap(label, 14, max_lines=3, placeholder="…"))
