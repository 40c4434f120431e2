"""The charts of a report, as pieces of HTML that share one copy of the drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from recsys_core.evaluation import metric_label, pareto_front

from . import compare_charts, interval_charts
from .compare_data import Group, curve_of, figure_of, higher_is_better, metrics_of
from .compare_groups import by_user_group

LINES = 10  # runs in one figure of lines
AGAINST = ("intra_list_diversity", "coverage", "novelty")


def charts_of(group: Group, runs: Sequence[Any], name: str, baseline: Any, found: dict[str, Any]) -> list[dict[str, str]]:
    """{"title", "html", "note"}: accuracy, differences, list length, diversity, activity; each where there are figures for it."""
    looks = compare_charts.looks({run.id: run.name for run in runs}, {run.id: group.position(run.id) for run in group.runs})
    drawn = [_accuracy(runs, name, looks), _differences(runs, name, baseline, found, looks), _lengths(group, runs, name, looks)]
    drawn += [_trade_off(runs, name, looks), _activity(group, runs, name, looks)]
    return [chart for chart in drawn if chart is not None]


def _chart(fig: go.Figure, title: str, note: str = "") -> dict[str, str]:
    from plotly.io import to_html

    fig.update_layout(template="plotly_white", font={"family": "Source Sans 3, system-ui, sans-serif", "size": 13}, autosize=True)
    html = to_html(fig, include_plotlyjs=False, full_html=False, config={"displaylogo": False, "responsive": True})
    return {"title": title, "html": html, "note": note}


def _accuracy(runs: Sequence[Any], name: str, looks: dict[str, Any]) -> dict[str, str] | None:
    known = [(looks[run.id].label, figure_of(run, name)) for run in runs]
    known = [(run_name, figure) for run_name, figure in known if np.isfinite(figure).all()]
    if not known:
        return None
    names, (values, low, high) = [k[0] for k in known], np.array([k[1] for k in known]).T
    fig = interval_charts.intervals(names, values, low, high, metric_label(name), zero=False, digits=".4f")
    return _chart(fig, "Which recommender is best?", "Lines are 95 % bootstrap intervals over users.")


def _differences(runs: Sequence[Any], name: str, baseline: Any, found: dict[str, Any], looks: dict[str, Any]) -> dict[str, str] | None:
    known = [(looks[run.id].label, found[run.id]) for run in runs if run.id in found and found[run.id].mean_a > 0]
    if not known:
        return None
    low, middle, high = (100 * np.array([getattr(d, part) / d.mean_a for _, d in known]) for part in ("low", "difference", "high"))
    fig = interval_charts.intervals([n for n, _ in known], middle, low, high, f"Difference to {baseline.name} (%)")
    return _chart(fig, f"How far from {baseline.name}?", "Paired differences over the same users; a line that crosses 0 is not clear.")


def _lengths(group: Group, runs: Sequence[Any], name: str, looks: dict[str, Any]) -> dict[str, str] | None:
    key = name.partition("@")[0]
    curves = [(looks[run.id], curve_of(group, run, key)) for run in runs[:LINES]]
    series = [(look, curve["k"], curve["value"]) for look, curve in curves if len(curve) > 1]
    if not series:
        return None
    fig = compare_charts.curves(series, "List length k", f"{metric_label(key)}@k")
    return _chart(fig, "Does the order change with the list length?")


def _trade_off(runs: Sequence[Any], name: str, looks: dict[str, Any]) -> dict[str, str] | None:
    k = name.partition("@")[2]
    other = next((f"{key}@{k}" for key in AGAINST if key in metrics_of(runs)), None)
    points = [(run, figure_of(run, other)[0], figure_of(run, name)[0]) for run in runs] if other and k else []
    points = [p for p in points if np.isfinite(p[1]) and np.isfinite(p[2])]
    if len(points) < 2:
        return None
    front = np.flatnonzero(pareto_front(np.array([p[1:] for p in points]), [higher_is_better(other), higher_is_better(name)]))
    fig = compare_charts.trade_off([(looks[r.id], x, y) for r, x, y in points], metric_label(other), metric_label(name), front.tolist())
    return _chart(fig, f"What does accuracy cost in {metric_label(other)}?", "Filled points are not beaten in both.")


def _activity(group: Group, runs: Sequence[Any], name: str, looks: dict[str, Any]) -> dict[str, str] | None:
    frames = [(run, by_user_group(group, run, "user/activity", name)) for run in runs[:LINES]]
    frames = [(run, frame) for run, frame in frames if len(frame)]
    if not frames:
        return None
    groups = {}
    for segment in frames[0][1]["group"]:
        rows = [frame[frame["group"] == segment] for _, frame in frames]
        if all(len(row) for row in rows):
            groups[str(segment)] = tuple([float(row[part].iloc[0]) for row in rows] for part in ("mean", "low", "high"))
    fig = compare_charts.dots([looks[run.id] for run, _ in frames], groups, metric_label(name))
    return _chart(fig, "Who is served how well?", "Users by how much training knows of them.")
