"""From a trial to a run: the result card, Train with these settings, Use in Train."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.evaluation import metric_label

from . import navigation, state
from .errors import error_box, guard, notify
from .text import md
from .train_prefill import prefill_model, prefill_protocol
from .train_submit import order_of
from .tune_data import Trial, View, differing, figure, settings_of, train_spec, usable, verdict

ASKED = "_tune_asked"  # run ids that were queued here, by study
LUCK = "The best of many trials owes a little to luck, so expect slightly less on the test part."


def choose(study_id: str, number: int | None) -> None:
    """Which trial the result card speaks of; None: the best."""
    st.session_state[f"_tune_chosen_{study_id}"] = number


def chosen_trial(view: View) -> Trial | None:
    """The one that was clicked, if it has a value; else the best."""
    trial = view.trial(st.session_state.get(f"_tune_chosen_{view.id}"))
    return trial if trial is not None and trial["state"] == "complete" and usable(trial, len(view.objectives)) else view.best


def run_ids(view: View) -> list[str]:
    """Ids of the runs that were queued from this study in this session."""
    return list(st.session_state.get(ASKED, {}).get(view.id, []))


def result_card(view: View, live: bool) -> None:
    """What the best trial (or the chosen one) reached, what it sets otherwise than the defaults, and what to do with it."""
    trial = chosen_trial(view)
    if trial is None or view.best is None:
        return
    is_best = trial["number"] == view.best["number"]
    with st.container(border=True, key="tune-result"):
        if len(view.objectives) > 1:
            trial = _front_picker(view, trial)
            is_best = trial["number"] == view.best["number"]
        name = ("Best so far" if live else "Best") if is_best and len(view.objectives) == 1 else f"Trial {trial['number']}"
        st.markdown(f"#### {name}: {md(verdict(view, trial))}")
        _settings(view, trial)
        if not is_best and len(view.objectives) == 1:
            first = view.objectives[0]
            st.caption(
                f"The best is trial {view.best['number']} with {md(figure(view.best['values'][0], first))}. Untick the row to see it."
            )
        _buttons(view, trial)
        if trial["number"]:
            st.caption(f":material/fact_check: {LUCK}")


def _front_picker(view: View, trial: Trial) -> Trial:
    """With two objectives no trial is simply the best: choose along the front, here or in the chart."""
    by_number = {t["number"]: t for t in view.complete}
    numbers = sorted({*view.front, trial["number"]} & set(by_number), key=lambda n: -by_number[n]["values"][0])
    key = f"tune-front-pick-{view.id}"
    st.session_state[key] = trial["number"]

    def label(number: int) -> str:
        values = by_number[number]["values"]
        told = ", ".join(f"{metric_label(metric)} {figure(v, metric)}" for metric, v in zip(view.objectives, values, strict=True))
        return f"Trial {number}: {told}"

    about = "Trials nothing beats in both. You may also click a point of the chart, or tick a row of the table."
    picked = st.selectbox(
        "Best choices", numbers, format_func=label, key=key, help=about, on_change=lambda: choose(view.id, st.session_state[key])
    )
    return by_number.get(picked, trial)


def _settings(view: View, trial: Trial) -> None:
    changed = differing(view, trial)
    if not trial["number"]:
        is_best = view.best is not None and not view.best["number"]
        others = "Nothing else has been tried yet." if len(view.complete) == 1 else "No trial did better."
        st.markdown(f"Every setting as it is by default. {others if is_best else ''}".strip())
    elif not changed:
        st.markdown("Its settings are those of the defaults.")
    else:
        rows = {"Setting": [], "Default": [], "This trial": []}
        for name, base, value in changed:
            rows["Setting"].append(md(view.label(name), 60))
            rows["Default"].append(md("chosen for the data" if base == "auto" else view.said(name, base), 60))
            rows["This trial"].append(f"**{md(view.said(name, value), 60)}**")
        st.table(rows, border="horizontal", width="content", hide_index=True)


def _buttons(view: View, trial: Trial) -> None:
    """Train it (or see what it became), or take it to Train to change more."""
    try:
        spec = train_spec(view, trial)
        order = order_of([spec])
    except WorkbenchError as error:
        error_box(error)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if order.done:
            run = order.done[0]
            beside = [r.id for r in state.workspace().runs(run.dataset_id) if r.split_id == run.split_id]
            runs = list(dict.fromkeys([run.id, *beside]))[:20]
            navigation.next_button(
                "See its result", "compare", key=f"tune-see-{view.id}", icon=":material/leaderboard:", dataset=run.dataset_id, runs=runs
            )
        else:
            if st.button(
                "Train with these settings",
                key=f"tune-train-{view.id}",
                type="primary",
                icon=":material/play_arrow:",
                disabled=bool(order.under_way),
                help="Trains on all training data and measures it on the test part, once.",
            ):
                _train(view.id, spec)
        if st.button(
            "Use in Train", key=f"tune-use-{view.id}", icon=":material/model_training:", help="Opens Train with these settings filled in."
        ):
            _use(view, trial, spec)
        if order.done:
            st.markdown(f":material/check_circle: Trained as **{md(order.done[0].name, 60)}**.", width="content")
        elif order.under_way:
            st.markdown(":material/hourglass_top: It is being trained; see above.", width="content")


def _train(study_id: str, spec: Any) -> None:
    with guard():
        job = state.queue().submit(spec)
        asked = st.session_state.setdefault(ASKED, {})
        asked[study_id] = list(dict.fromkeys([*asked.get(study_id, []), job.id]))
        st.rerun()  # all of the page: the job is followed above this part


def _use(view: View, trial: Trial, spec: Any) -> None:
    """Train with the model ticked, its form filled and the same split."""
    prefill_model(view.model, settings_of(view, trial))
    prefill_protocol(spec.model_dump(mode="json"))
    notify(f"The settings of trial {trial['number']} are filled in for {md(view.model_label)}. [See them](#settings)", "info")
    navigation.go("train", dataset=spec.dataset)
