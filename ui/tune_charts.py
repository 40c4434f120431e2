"""Figures of the Tune page: each trial a mark; what was stopped early is pale, the defaults a diamond, the best a star."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from recsys_core.evaluation import metric_label

from . import charts
from .text import short
from .tune_data import Trial, View, best_so_far, figure, plain, usable

PALE = 0.5
CURVES = 60  # of the newest trials; more cannot be told apart


def told(view: View, trial: Trial) -> str:
    """Hover text: the settings and values of a trial."""
    lines = [f"Trial {trial['number']}" + (" (defaults)" if trial["number"] == 0 else "")]
    for n, metric in enumerate(view.objectives):
        if usable(trial, len(view.objectives)):
            lines.append(f"{charts.plain(metric_label(metric))} {figure(trial['values'][n], metric)}")
    params = trial.get("params", {})
    lines += [f"{charts.plain(short(view.label(name), 40))}: {charts.plain(short(plain(params[name]), 40))}" for name in list(params)[:12]]
    return "<br>".join(lines)


def history(view: View) -> go.Figure:
    """Every trial's first objective, the best so far as a step line, the defaults as a dotted one."""
    metric = view.objectives[0]
    label = metric_label(metric)
    fig = charts.figure("Trial", f"{label} on validation", legend=True)
    pruned = [(t["number"], float(t["curve"][-1]["value"])) for t in view.trials if t["state"] == "pruned" and t.get("curve")]
    if pruned:
        fig.add_scatter(
            x=[n for n, _ in pruned],
            y=[v for _, v in pruned],
            name="Stopped early",
            mode="markers",
            opacity=PALE,
            marker={"size": 8, "color": charts.series_color(0), "symbol": "circle-open", "line": {"width": 2}},
            hovertemplate=f"Trial %{{x}}, stopped early<br>{charts.plain(label)} when stopped %{{y:.4f}}<extra></extra>",
        )
    done = [t for t in view.complete if t["number"] != 0]
    fig.add_scatter(
        x=[t["number"] for t in done],
        y=[t["values"][0] for t in done],
        name="Trial",
        mode="markers",
        marker={"size": 8, "color": charts.series_color(0)},
        text=[told(view, t) for t in done],
        hovertemplate="%{text}<extra></extra>",
    )
    best = best_so_far(view)
    if len(best) > 1:
        last = max(t["number"] for t in view.trials)
        fig.add_scatter(
            x=[n for n, _ in best] + ([last] if last > best[-1][0] else []),
            y=[v for _, v in best] + ([best[-1][1]] if last > best[-1][0] else []),
            name="Best so far",
            mode="lines",
            line={"shape": "hv", "width": 2, "color": charts.series_color(1)},
            hoverinfo="skip",
        )
    base = view.defaults
    if base is not None:
        fig.add_hline(y=base["values"][0], line={"color": charts.MUTED, "dash": "dot", "width": 1.5})
        fig.add_scatter(
            x=[0],
            y=[base["values"][0]],
            name="Defaults",
            mode="markers",
            marker={"size": 11, "symbol": "diamond", "color": charts.series_color(2)},
            text=[told(view, base)],
            hovertemplate="%{text}<extra></extra>",
            cliponaxis=False,
        )
    numbers = [t["number"] for t in view.trials]
    fig.update_xaxes(
        tickformat="d", range=[min(numbers) - 0.6, max(numbers) + 0.6], **({"dtick": 1} if len(numbers) < 10 else {"nticks": 8})
    )
    return fig


def importance(view: View) -> go.Figure:
    """Share of the differences each setting explains, largest first."""
    rows = sorted(view.importance.items(), key=lambda pair: -pair[1])[:10]
    fig = charts.figure("Share of the differences", "", height=90 + 30 * len(rows))
    fig.add_bar(
        x=[share for _, share in rows],
        y=[charts.plain(short(view.label(name), 30)) for name, _ in rows],
        orientation="h",
        marker_color=charts.accent(),
        hovertemplate="%{y}<br>%{x:.0%} of the differences<extra></extra>",
    )
    fig.update_layout(bargap=0.35)
    fig.update_yaxes(autorange="reversed", showgrid=False, title=None)
    fig.update_xaxes(showgrid=True, tickformat=".0%", rangemode="tozero", nticks=6)
    return fig


# ---- one setting, all settings ---------------------------------------------------------------------
def is_log(view: View, name: str, values: Sequence[Any]) -> bool:
    """Whether a setting is drawn on a logarithmic axis: it was searched so, and all its values are above 0."""
    return view.scale(name) == "log" and bool(values) and all(is_number(v) and v > 0 for v in values)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def slice_of(view: View, name: str) -> go.Figure:
    """One setting against the first objective."""
    metric = view.objectives[0]
    trials = [t for t in view.complete if name in t.get("params", {})]
    values = [t["params"][name] for t in trials]
    log = is_log(view, name, values)
    fig = charts.figure(charts.plain(view.label(name)), f"{metric_label(metric)} on validation", log_x=log)
    numeric = all(is_number(v) for v in values)
    best = view.best["number"] if view.best else None
    fig.add_scatter(
        x=values if numeric else [charts.plain(plain(v)) for v in values],
        y=[t["values"][0] for t in trials],
        mode="markers",
        marker={
            "opacity": 1,
            "size": [15 if t["number"] == best else 11 if t["number"] == 0 else 9 for t in trials],
            "symbol": ["star" if t["number"] == best else "diamond" if t["number"] == 0 else "circle" for t in trials],
            "color": [charts.series_color(1 if t["number"] == best else 2 if t["number"] == 0 else 0) for t in trials],
        },
        text=[told(view, t) for t in trials],
        hovertemplate="%{text}<extra></extra>",
        cliponaxis=False,
    )
    if not numeric:
        fig.update_xaxes(type="category")
    elif log:
        fig.update_xaxes(**log_ticks(values))
    return fig


def log_ticks(values: Sequence[float]) -> dict[str, Any]:
    """Round values of a logarithmic axis, of the first spacing that has three of them in view."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    at: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        at = [m * 10.0**e for e in decades for m in steps if low / 1.1 <= m * 10.0**e <= high * 1.1]
        if len(at) >= 3:
            break
    at = at or [low]
    return {"tickvals": at, "ticktext": [f"{v:,g}" for v in at], "dtick": None}


def learning(view: View) -> go.Figure:
    """The validation measure after each pass, one line a trial; pale where it was stopped early."""
    metric = metric_label(view.objectives[0])
    fig = charts.figure("Pass", f"{metric} on validation", legend=True)
    best = view.best["number"] if view.best else None
    told_of: set[str] = set()
    known = with_curve(view)
    standing = [t for t in known[:-CURVES] if t["number"] in (0, best)]
    for trial in sorted([*standing, *known[-CURVES:]], key=lambda t: (t["number"] == best, t["number"] == 0, t["state"] != "pruned")):
        name, color, width, opacity = _curve_look(trial, best)
        fig.add_scatter(
            x=[step["epoch"] for step in trial["curve"]],
            y=[step["value"] for step in trial["curve"]],
            name=name,
            legendgroup=name,
            showlegend=name not in told_of,
            mode="lines",
            opacity=opacity,
            line={"color": color, "width": width, "dash": "dot" if name == "Stopped early" else "solid"},
            hovertemplate=f"Trial {trial['number']}, pass %{{x}}<br>{charts.plain(metric)} %{{y:.4f}}<extra></extra>",
        )
        told_of.add(name)
    last = max((step["epoch"] for trial in known for step in trial["curve"]), default=1)
    fig.update_xaxes(tickformat="d", **({"dtick": 1} if last < 10 else {"nticks": 8}))  # no ticks between two passes
    return fig


def _curve_look(trial: Trial, best: int | None) -> tuple[str, str, float, float]:
    """(name, colour, width, opacity)."""
    if trial["number"] == best:
        return "Best", charts.series_color(1), 3, 1
    if trial["number"] == 0:
        return "Defaults", charts.series_color(2), 2, 1
    return (
        ("Stopped early", charts.series_color(0), 1.5, 0.6) if trial["state"] == "pruned" else ("Trial", charts.series_color(0), 1.5, 0.9)
    )


def with_curve(view: View) -> list[Trial]:
    """Trials whose passes were measured."""
    return [t for t in view.trials if len(t.get("curve") or []) > 1]


# ---- two objectives --------------------------------------------------------------------------------
def pareto(view: View, chosen: int | None) -> go.Figure:
    """Second objective across, first one up; what nothing beats in both is filled and joined. Points carry their trial as customdata."""
    across, up = view.objectives[1], view.objectives[0]
    fig = charts.figure(f"{metric_label(across)} on validation", f"{metric_label(up)} on validation", height=380)
    done = view.complete
    front = sorted((t for t in done if t["number"] in view.front), key=lambda t: t["values"][1])
    if len(front) > 1:
        fig.add_scatter(
            x=[t["values"][1] for t in front],
            y=[t["values"][0] for t in front],
            mode="lines",
            line={"color": charts.MUTED, "dash": "dot", "width": 1.5},
            hoverinfo="skip",
        )
    on = set(view.front)
    fig.add_scatter(
        x=[t["values"][1] for t in done],
        y=[t["values"][0] for t in done],
        mode="markers",
        customdata=[[t["number"]] for t in done],
        text=[told(view, t) for t in done],
        hovertemplate="%{text}<extra></extra>",
        cliponaxis=False,
        marker={
            "opacity": 1,
            "size": [17 if t["number"] == chosen else 12 for t in done],
            "color": [charts.series_color(1 if t["number"] == chosen else 2 if t["number"] == 0 else 0) for t in done],
            "symbol": [_symbol(t["number"], on, chosen) for t in done],
            "line": {"width": 1.5},
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
    )
    return fig


def _symbol(number_: int, on: set[int], chosen: int | None) -> str:
    if number_ == chosen:
        return "star"
    shape = "diamond" if number_ == 0 else "circle"
    return shape if number_ in on else f"{shape}-open"
