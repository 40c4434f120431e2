"""The charts of the Compare page about one figure a result; compare_tabs.py holds the tabs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from recsys_core.evaluation import metric_label, pareto_front

from . import charts, compare_charts
from .compare_charts import Look
from .compare_data import (
    Group,
    curve_of,
    exposure_curve,
    figure_of,
    higher_is_better,
    metric_class,
    metrics_of,
    overlap,
)
from .text import count, duration, listing, md, share, size

DRAWN = 10  # lines in one figure; more cannot be told apart


@dataclass(frozen=True)
class View:
    """What is compared: the chosen runs, best first, and one measure ("ndcg@20"). all_runs: of the dataset, whatever the split."""

    group: Group
    runs: Sequence[Any]
    looks: dict[str, Look]
    name: str
    baseline: Any = None
    all_runs: Sequence[Any] = ()

    @property
    def key(self) -> str:
        return self.name.partition("@")[0]

    @property
    def k(self) -> int:
        part = self.name.partition("@")[2]
        return int(part) if part else max((k for ks in metrics_of(self.runs).values() for k in ks), default=10)

    @property
    def label(self) -> str:
        return metric_label(self.name)

    def look(self, run: Any) -> Look:
        return self.looks[run.id]

    def few(self) -> Sequence[Any]:
        """As many as one figure of lines can hold."""
        if len(self.runs) > DRAWN:
            st.caption(f"Only the {DRAWN} best of {len(self.runs)} are drawn; choose fewer results above to see others.")
        return self.runs[:DRAWN]


def list_length(view: View) -> None:
    """The measure at every list length."""
    series = []
    for run in view.few():
        curve = curve_of(view.group, run, view.key)
        if len(curve):
            series.append((view.look(run), curve["k"], curve["value"]))
    if not series:
        st.caption(f"{md(view.label)} is one figure for all predictions; it has no list length.")
        return
    label = metric_label(view.key)
    shared = set.intersection(*(set(ks) for _, ks, _ in series))
    curves = {look.name: {k: y for k, y in zip(ks, ys, strict=True) if k in shared} for look, ks, ys in series}
    pick = max if higher_is_better(view.key) else min
    leads = [pick(curves, key=lambda name, k=k: curves[name][k]) for k in sorted(shared)]
    who = _who_leads(leads) if leads else ""
    title = f"Does the order change with the list length? {who}" if len(series) > 1 else f"{md(label)} by list length"
    charts.show(compare_charts.curves(series, "List length k", f"{label}@k"), title, key="list-length")


def _who_leads(leads: list[str]) -> str:
    """Who leads, from the leader at each list length, short to long."""
    first, last = leads[0], leads[-1]
    if set(leads) == {first}:
        return f"{md(first)} leads at every length"
    if first == last:
        return f"{md(first)} leads in the shortest and in the longest lists, not in all between"
    return f"{md(first)} leads in short lists, {md(last)} in long ones"


def beyond_accuracy(view: View) -> None:
    """Accuracy against another quality, with the Pareto front."""
    known = [key for key in metrics_of(view.runs) if (cls := metric_class(key)) is not None and cls.kind == "beyond"]
    if not known:
        st.caption("These results have no figures beyond accuracy.")
        return
    known.sort(key=lambda key: (("coverage", "intra_list_diversity", "novelty") + (key,)).index(key))
    other = st.selectbox(
        "Compare accuracy with",
        known,
        format_func=metric_label,
        key="against",
        persist_state="session",
        help="What else a list should be, beside right.",
    )
    other_name = f"{other}@{view.k}"
    points = [(run, figure_of(run, view.name)[0], figure_of(run, other_name)[0]) for run in view.runs]
    points = [p for p in points if np.isfinite(p[1]) and np.isfinite(p[2])]
    cls = metric_class(other)
    if not points:
        st.caption("None of the chosen results has both figures.")
        return
    better = [higher_is_better(view.name), higher_is_better(other_name)]
    front = np.flatnonzero(pareto_front(np.array([[p[1], p[2]] for p in points]), better)).tolist()
    names = [md(view.look(points[i][0]).name) for i in sorted(front, key=lambda i: -points[i][1])]
    label = metric_label(other_name)
    who = f"{listing(names, 4)} {'is' if len(names) == 1 else 'are'} not beaten on both"
    title = f"What does accuracy cost in {md(metric_label(other).lower())}? {who}"
    fig = compare_charts.trade_off([(view.look(run), x, y) for run, x, y in points], axis_of(view.name), axis_of(other_name), front)
    note = f"{md(label)}: {md(cls.help)} Filled and joined: the Pareto front, not beaten by any other on both."
    charts.show(fig, title, key=f"trade-{other}", note=note)


def axis_of(name: str) -> str:
    """The name of an axis: the measure with its unit, and which way is better where it is not up."""
    cls = metric_class(name)
    unit = f", {cls.unit}" if cls is not None and cls.unit else ""
    return f"{metric_label(name)}{unit}" + ("" if higher_is_better(name) else " (lower is better)")


def exposed(view: View) -> None:
    """How evenly the catalogue is shown."""
    found = [(run, *exposure_curve(view.group, run, view.k)) for run in view.few()]
    even, _, gini = min(found, key=lambda f: f[2])
    title = f"How evenly is the catalogue shown? {md(view.look(even).name)} comes closest to even (Gini {gini:.2f})"
    series = [(view.look(run), curve["items_share"], curve["exposure_share"]) for run, curve, _ in found]
    note = (
        f"Places in the first {view.k} of all lists. The nearer to the dotted line, the more evenly items are shown; a curve along the "
        "bottom means that a few items fill all lists."
    )
    charts.show(compare_charts.lorenz(series), title, key="exposure", note=note)


def overlapping(view: View) -> None:
    """How alike the lists of two models are."""
    if len(view.runs) < 2:
        st.caption("Choose two or more results to see how alike their lists are.")
        return
    values = overlap(view.runs, view.k)
    names = [view.look(run).name for run in view.runs]
    apart = np.where(np.eye(len(names), dtype=bool), np.nan, values)
    if not np.isfinite(apart).any():
        st.caption("These results have no user in common.")
        return
    a, b = np.unravel_index(int(np.nanargmax(apart)), apart.shape)
    pair = f"{md(names[min(a, b)])} and {md(names[max(a, b)])}"
    title = f"How alike are the lists? {pair} most: they share {share(float(apart[a, b]))} of their items"
    note = (
        f"Mean over users: items in the first {view.k} of both, divided by those in either. Models that differ and are both good make a "
        "strong fusion."
    )
    charts.show(charts.heatmap(values, names, names, what="Overlap"), title, key="overlap", note=note)


def training(view: View) -> None:
    """How the training went, pass by pass."""
    learnt = [(run, run.history()) for run in view.runs]
    learnt = [(run, steps) for run, steps in learnt if len(steps) > 1]
    if not learnt:
        st.caption("The chosen recommenders are worked out in one step: there is no training to follow.")
        return
    from .compare_training import training_curves

    key = "-".join(run.id[:6] for run, _ in learnt)
    training_curves([(view.look(run), steps, run.manifest.get("fit_seconds")) for run, steps in learnt], key)


def cost(view: View) -> None:
    """Seconds and memory, and whether the slower ones are worth it."""
    parts = (
        ("fit_seconds", "Training", "Seconds"),
        ("recommend_seconds", "Making all lists", "Seconds"),
        ("peak_rss_bytes", "Peak memory", "Megabytes"),
    )
    with st.grid(3, min_column_width=320, gap="medium"):
        for part, what, unit in parts:
            known = [(run, float(run.manifest[part])) for run in view.runs if run.manifest.get(part) is not None]
            if not known:
                continue
            with st.container():
                scale = 2**20 if part == "peak_rss_bytes" else 1
                texts = [size(v) if scale > 1 else duration(v) if v >= 0.05 else "under 0.1 s" for _, v in known]
                least = min(known, key=lambda pair: pair[1])[0]
                word = "takes least" if scale > 1 else "is quickest"
                fig = compare_charts.amounts([view.look(run) for run, _ in known], [v / scale for _, v in known], unit, texts)
                charts.show(fig, f"{what}: {md(view.look(least).name)} {word}", key=f"cost-{part}")
    timed = [(run, float(run.manifest.get("fit_seconds") or np.nan), figure_of(run, view.name)[0]) for run in view.runs]
    timed = [t for t in timed if np.isfinite(t[1]) and np.isfinite(t[2])]
    if len(timed) > 1:
        front = np.flatnonzero(pareto_front(np.array([[t[1], t[2]] for t in timed]), [False, higher_is_better(view.name)])).tolist()
        fig = compare_charts.trade_off(
            [(view.look(r), np.log10(max(s, 0.01)), v) for r, s, v in timed], "Training time", axis_of(view.name), front
        )
        ticks = [0.01, 0.1, 1, 10, 60, 600, 3600, 36000]
        fig.update_xaxes(
            tickvals=[float(np.log10(t)) for t in ticks], ticktext=["10 ms", "0.1 s", "1 s", "10 s", "1 min", "10 min", "1 h", "10 h"]
        )
        title = f"Is slower better? {count(len(front), 'recommender')} of {len(timed)} cannot be beaten in both time and {md(view.label)}"
        charts.show(fig, title, key="time-trade", note="Measured on the machine each ran on; jobs side by side slow each other down.")
