"""How much of its accuracy each recommender keeps when its training data get worse: the Robustness tab of Compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.evaluation import metric_label
from recsys_core.evaluation.robustness import DAMAGES, SHARES
from recsys_core.jobs.robustness_spec import RobustnessSpec

from . import charts, compare_charts, state
from .compare_data import metric_class
from .compare_views import View
from .errors import action
from .jobs import job_list, jobs_of
from .text import count, duration, listing, md, share

KIND = "robustness"


def robustness(view: View) -> None:
    """What is known already, the button to work out the rest, and the jobs that do."""
    cls = metric_class(view.key)
    key = view.key if cls is not None and cls.per_user and cls.kind != "rating" else "ndcg"
    name = f"{key}@{view.k}"
    found = {run.id: result for run in view.runs if (result := _known(run, name)) is not None}
    if found:
        damage = st.segmented_control(
            "What happens to the training data",
            list(DAMAGES),
            default="noise",
            required=True,
            format_func=lambda kind: DAMAGES[kind][0],
            key="damage",
        )
        st.caption(DAMAGES[damage][1] + " Every recommender is trained again on it with its settings; the test part stays as it was.")
        _chart(view, found, name, damage)
        if damage == "attack":
            _pushed(view, found)
        _table(view, found, name, damage)
        if any(run.folds for run in view.runs if run.id in found):
            st.caption("Of a k-fold result the first fold is looked at, so its figures differ from those pooled over all folds.")
    _start(view, [run for run in view.runs if run.id not in found], name)
    ids = {RobustnessSpec.make(run=run.id, k=view.k, metrics=_metrics(key)).analysis_id for run in view.runs}
    if jobs_of(kinds=(KIND,), ids=ids):
        job_list("robustness-jobs", kinds=(KIND,), ids=ids, keep=0)


def _metrics(key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([key, "ndcg", "recall"]))


def _known(run: Any, name: str) -> dict[str, Any] | None:
    """The newest check of a run that has this measure."""
    for analysis in state.workspace().analyses(KIND, run=run.id):
        result = analysis.result()
        if name in result.get("figures", {}):
            return result
    return None


def _points(result: dict[str, Any], damage: str) -> list[dict[str, Any]]:
    return [point for point in result["points"] if point["kind"] == damage]


def _chart(view: View, found: dict[str, Any], name: str, damage: str) -> None:
    series, kept = [], {}
    for run in view.runs:
        points = [p for p in _points(found[run.id], damage) if p["metrics"][name]["kept"] is not None] if run.id in found else []
        if points:
            ys = [1.0, *(p["metrics"][name]["kept"] for p in points)]
            series.append((view.look(run), [0.0, *(100 * p["share"] for p in points)], [100 * y for y in ys]))
            kept[view.look(run).name] = ys[-1]
    if not series:
        st.caption("None of the checks looked at this.")
        return
    label = metric_label(name)
    fig = compare_charts.curves(series, "Share of the training interactions (%)", f"{label} kept (%)")
    best, worst = max(kept, key=kept.get), min(kept, key=kept.get)
    title = f"How much of its {md(label)} does each keep? "
    title += (
        f"{md(best)} keeps most ({share(kept[best])}), {md(worst)} least ({share(kept[worst])})" if len(kept) > 1 else share(kept[best])
    )
    charts.show(fig, title, key=f"robust-{damage}", note="One draw of the damage: small differences between lines may be chance.")


def _pushed(view: View, found: dict[str, Any]) -> None:
    series = []
    for run in view.runs:
        points = _points(found[run.id], "attack") if run.id in found else []
        if points:
            ys = [points[0]["pushed"]["before"], *(p["pushed"]["after"] for p in points)]
            series.append((view.look(run), [0.0, *(100 * p["share"] for p in points)], [100 * y for y in ys]))
    if series:
        fig = compare_charts.curves(series, "Share of the training interactions (%)", f"Users shown a pushed item in {view.k} (%)")
        charts.show(fig, "How far does an attack get its items into the lists?", key="robust-pushed", note="Lower is better.")


def _table(view: View, found: dict[str, Any], name: str, damage: str) -> None:
    rows = []
    for run in view.runs:
        for point in _points(found[run.id], damage) if run.id in found else []:
            figure = point["metrics"][name]
            rows.append(
                {
                    "Recommender": run.name,
                    "Share (%)": 100 * point["share"],
                    metric_label(name): figure["mean"],
                    "Change": figure["change"],
                    "From": figure["low"],
                    "To": figure["high"],
                }
            )
    with st.expander("The figures", icon=":material/table:"):
        st.dataframe(pd.DataFrame(rows), hide_index=True, key=f"robust-table-{damage}", alt="What is left, with intervals")


def _start(view: View, missing: Sequence[Any], name: str) -> None:
    """The button that checks the runs nothing is known of."""
    busy = {job.spec.payload.get("run") for job in jobs_of(kinds=(KIND,)) if not job.ended}
    missing = [run for run in missing if run.id not in busy]
    if not missing:
        return
    seconds = sum(float(run.manifest.get("fit_seconds") or 0) for run in missing) * len(DAMAGES) * len(SHARES)
    names = listing([md(run.name, 40) for run in missing], 4)
    shares = listing([f"{100 * s:g}" for s in SHARES])
    with st.container(horizontal=True, vertical_alignment="center", key="robust-start"):
        st.button(
            f"Check {count(len(missing), 'recommender')}", key="robust-go", icon=":material/shield:", type="primary",
            on_click=_submit, args=([run.id for run in missing], view.k, name.partition("@")[0]),
        )  # fmt: skip
        st.caption(
            f"{names}: trained {len(DAMAGES) * len(SHARES)} more times, with {shares} % of the interactions added, faked or lost. "
            f"Takes {duration(max(1.0, seconds))} or so.",
            width="stretch",
        )


@action
def _submit(run_ids: list[str], k: int, key: str) -> None:
    workspace = state.workspace()
    specs = [RobustnessSpec.make(run=run_id, k=k, metrics=_metrics(key)) for run_id in run_ids]
    state.queue().submit_many([spec.job(workspace.run(spec.run).name) for spec in specs])
