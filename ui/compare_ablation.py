"""What each part of a recommender's architecture buys: the Architecture tab of Compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.evaluation import metric_label
from recsys_core.evaluation.ablation import MODES, Axis
from recsys_core.evaluation.ablation_effects import Effect
from recsys_core.evaluation.ablation_words import axis_from, axis_sentence, best_sentence, clear_axes, settings_text, to_base, value_text

from . import charts, navigation, state
from .ablation_form import ablation_form
from .compare_views import View
from .errors import guard, notify
from .interval_charts import intervals
from .jobs import job_list, jobs_of
from .text import ago, count, duration, listing, md, short
from .train_models import first_fitting
from .train_prefill import prefill_model, prefill_protocol

KIND = "ablation"
LONGEST = 30  # characters of a row's name
LUCK = "The best of many variants owes a little to luck, so expect slightly less on the test part."


def architecture(view: View) -> None:
    """What is known of one of the recommenders, the form that asks for more, and the jobs that work on it."""
    with_parts = [run for run in view.runs if (cls := _model(run.model_key)) is not None and cls.ablation_axes]
    if not with_parts:
        _what_to_train(view)
        return
    run = with_parts[0]
    if len(with_parts) > 1:
        names = {run.id: run.name for run in with_parts}
        chosen = st.selectbox(
            "Recommender", list(names), format_func=lambda i: names.get(i, i), key="ablation-run", persist_state="session"
        )
        run = next((run for run in with_parts if run.id == chosen), run)
    found = state.workspace().analyses(KIND, run=run.id)
    if found:
        _result(run, _picked(run, found))
    job_ids = {
        job.id for job in jobs_of(kinds=(KIND,)) if job.spec.payload.get("run") == run.id and not (job.ended and job.state == "done")
    }
    if job_ids:
        job_list(f"ablation-jobs-{run.id}", kinds=(KIND,), ids=job_ids, keep=2)
    ablation_form(run, _model(run.model_key), again=bool(found))


def _model(key: str) -> Any:
    try:
        return registry.get("model", key)
    except NotFound:
        return None


def _what_to_train(view: View) -> None:
    labels = {key: cls.label for key in registry.keys("model") if (cls := _model(key)) is not None and cls.ablation_axes}
    st.markdown(
        ":material/schema: An ablation trains a recommender again with one part of its architecture taken away or changed at a time, and "
        f"shows what each part buys on this data. None of the chosen results has such parts; those of {md(listing([*labels.values()]))} do."
    )
    dataset_id = view.runs[0].dataset_id if view.runs else None
    one = first_fitting(labels, state.workspace().dataset(dataset_id).stats) if dataset_id else None
    navigation.link("train", "Train one", icon=":material/model_training:", dataset=dataset_id, model=one)


def _picked(run: Any, found: Sequence[Any]) -> Any:
    """The newest ablation of a run, or the one chosen."""
    if len(found) == 1:
        return found[0]
    labels = {}
    for entry in found:
        result = entry.result()
        n = sum(variant["state"] == "done" for variant in result["variants"]) * len(result["seeds_used"])
        labels[entry.id] = f"{result['mode'].capitalize()}, {count(n, 'training')}, on {result['part']}, {ago(entry.created)}"
    chosen = st.selectbox("Ablation", list(labels), format_func=lambda i: labels.get(i, i), key=f"ablation-pick-{run.id}")
    return next((entry for entry in found if entry.id == chosen), found[0])


# ---- one result --------------------------------------------------------------------------------------
def _result(run: Any, entry: Any) -> None:
    result = entry.result()
    axes = [axis_from(saved) for saved in result["axes"]]
    names = [f"{key}@{result['k']}" for key in result["metrics"]]
    places = {place: about["label"] for place, about in result["where"].items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = names[0]
        if len(names) > 1:
            name = st.segmented_control(
                "Measure", names, default=names[0], required=True, format_func=metric_label, key=f"ablation-metric-{entry.id}"
            )
        place = ""
        if len(places) > 1:
            place = st.segmented_control(
                "Judged on",
                list(places),
                default="",
                required=True,
                format_func=places.get,
                key=f"ablation-where-{entry.id}",
            )
    effects = [Effect.from_dict(saved) for saved in result["effects"][place][name]]
    _chart(entry.id, axes, effects, name, result, place)
    st.markdown("\n".join(f"- {md(axis_sentence(axis, effects))}" for axis in axes))
    _best(run, entry.id, axes, result, place, name)
    _table(entry.id, axes, result, place, name)
    with st.expander("How these figures were made", icon=":material/fact_check:"):
        for note in result["notes"]:
            st.markdown(f"- {md(note)}")
        for left, why in result["left_out"].items():
            st.markdown(f"- {md(_label(run, left))} was left out: {md(why)}")


def _label(run: Any, name: str) -> str:
    from recsys_core.params import fields

    cls = _model(run.model_key)
    return next((f.label for f in fields(cls.Params) if f.name == name), name) if cls is not None else name


def _chart(key: str, axes: Sequence[Axis], effects: Sequence[Effect], name: str, result: dict[str, Any], place: str) -> None:
    rows = [(axis, value, gap) for axis in axes for value, gap in to_base(axis, effects).items() if gap.mean_a]
    if not rows:
        st.caption("Too few variants were trained to tell what a setting buys.")
        return
    labels = [_row_name(axis, value_text(value)) for axis, value, _ in rows]
    numbers = [[100 * part / gap.mean_a for part in (gap.difference, gap.low, gap.high)] for *_, gap in rows]
    middle, low, high = np.array(numbers).T
    label = metric_label(name)
    fig = intervals(_apart(labels), middle, low, high, f"{label} beside the base, %", clear=[gap.clear for *_, gap in rows], digits=".1f")
    sure = clear_axes(axes, effects)
    said = (
        f"{len(sure)} of {count(len(axes), 'setting')} {'makes' if len(sure) == 1 else 'make'} a clear difference"
        if sure
        else "Nothing that is sure"
    )
    base = ", ".join(f"{axis.label[:1].lower()}{axis.label[1:]} {value_text(axis.base)}" for axis in axes)
    how = "each with all else as in the base" if result["mode"] == MODES[0] else "averaged over all other settings"
    note = (
        f"Base: {md(base)}. Each row is one other value, {how}, with its 95 % interval over "
        f"{count(result['where'][place]['n_users'], 'user')} ({md(_lower(result['where'][place]['label']))}). Filled: clear, corrected for "
        f"{count(rows[0][2].n_compared, 'comparison')} by Holm's method."
    )
    charts.show(fig, f"What does each part of the architecture buy here? {said}", key=f"ablation-chart-{key}-{place}-{name}", note=note)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _row_name(axis: Axis, value: str) -> str:
    """The value is never cut off."""
    value = short(value, LONGEST // 2)
    return f"{short(axis.label, LONGEST - len(value))}: {value}"


def _apart(labels: Sequence[str]) -> list[str]:
    """Rows that were cut to the same text get a number."""
    return [label if labels.count(label) == 1 else f"{label} ·{labels[: n + 1].count(label)}" for n, label in enumerate(labels)]


def _best(run: Any, key: str, axes: Sequence[Axis], result: dict[str, Any], place: str, name: str) -> None:
    variant = result["variants"][result["best"][place][name]]
    saved = variant["to_base"][place].get(name)
    found = Effect.from_dict(saved).found if saved else None
    told = settings_text(axes, variant["settings"])
    st.markdown(f"**{md(best_sentence(told, found, name, variant['figures'][place][name]))}**")
    if found is None:
        return
    clicked = st.button(
        "Use it in Train", key=f"ablation-use-{key}", icon=":material/model_training:", type="primary" if found.clear else "secondary",
        help="Opens Train with the settings of this variant filled in.",
    )  # fmt: skip
    if result["part"] == "validation":
        st.caption(f":material/fact_check: {LUCK}")
    if clicked:
        _use(run, variant["settings"], told)


def _use(run: Any, settings: dict[str, Any], told: str) -> None:
    """Train with the model ticked, its form filled and the same split."""
    cls = _model(run.model_key)
    with guard():
        prefill_model(cls, dict(run.spec.get("params") or {}) | settings)
        prefill_protocol(run.spec)
        notify(f"{md(cls.label)} is filled in with {md(told)}. [See the settings](#settings)", "info")
        navigation.go("train", dataset=run.dataset_id)


def _table(key: str, axes: Sequence[Axis], result: dict[str, Any], place: str, name: str) -> None:
    rows = []
    for variant in result["variants"]:
        row: dict[str, Any] = {"variant": settings_text(axes, variant["settings"]), "state": variant["state"], "why": variant["reason"]}
        row["seconds"] = duration(variant["seconds"]) if variant["seconds"] is not None else ""
        if variant["state"] == "done":
            row["value"] = variant["figures"][place][name]
            saved = variant["to_base"][place].get(name)
            if saved:
                row |= {
                    "difference": saved["difference"],
                    "low": saved["low"],
                    "high": saved["high"],
                    "clear": "✓" if saved["clear"] else "",
                }
        rows.append(row)
    frame = pd.DataFrame(rows).reindex(columns=["variant", "value", "difference", "low", "high", "clear", "seconds", "state", "why"])
    failed = [variant for variant in result["variants"] if variant["state"] == "failed"]
    if failed:
        st.warning(f"{count(len(failed), 'variant')} could not be trained: {md(failed[0]['reason'], 300)}", icon=":material/warning:")
    number = st.column_config.NumberColumn
    with st.expander(f"All variants ({len(rows)})", icon=":material/table:"):
        st.dataframe(
            frame.drop(columns=[c for c in ("why", "state") if c in frame and (frame[c].isin(["", "done"])).all()]),
            hide_index=True,
            key=f"ablation-table-{key}-{place}-{name}",
            alt="Every variant with its figure and its difference to the base",
            column_config={
                "variant": st.column_config.TextColumn("Variant", width="medium", help="What it has otherwise than the base."),
                "value": number(metric_label(name), format="%.4f"),
                "difference": number("To the base", format="%+.4f"),
                "low": number("From", format="%+.4f"),
                "high": number("To", format="%+.4f"),
                "clear": st.column_config.TextColumn("Clear", width="small"),
                "seconds": st.column_config.TextColumn("Training", width="small"),
                "state": st.column_config.TextColumn("State"),
                "why": st.column_config.TextColumn("Why", width="medium"),
            },
        )
