"""A study on the Tune page: how it goes, what it found, its charts and its trials. Live while its job lives."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound, WorkbenchError
from recsys_core.evaluation import metric_label

from . import charts, state, tune_charts, tune_parallel
from .components import download, empty_state, warnings_box
from .errors import guarded
from .jobs import job_list
from .text import count, duration, listing, md, share
from .tune_data import STATES, View, does_it_pay, failures, figure, table, table_csv
from .tune_more import more_bar
from .tune_use import choose, chosen_trial, result_card, run_ids

SAMPLERS = {"tpe": "learning from earlier trials", "random": "at random", "grid": "every combination"}
POLL_SECONDS = 2.0
ENOUGH = 2  # complete trials before a chart says anything


def job_of(study_id: str) -> Any:
    """The job that searches, or None when it was cleared."""
    try:
        return state.queue().job(study_id)
    except NotFound:
        return None


def study_of(study_id: str) -> Any:
    """The study, or None while its job has not begun."""
    try:
        return state.workspace().study(study_id)
    except WorkbenchError:
        return None


def study_view(study_id: str) -> None:
    """All of the page below the choice of a study."""
    study, job = study_of(study_id), job_of(study_id)
    live = job is not None and not job.ended
    st.caption(_asked(study.spec if study is not None else job.spec.payload if job is not None else {}))
    listed = ([study_id] if job is not None and job.state != "done" else []) + (run_ids(View.of(study)) if study is not None else [])
    if listed:
        job_list(f"tune-jobs-{study_id}", ids=listed, empty="")

    @st.fragment(run_every=POLL_SECONDS if live else None, key=f"tune-study-{study_id}")
    @guarded
    def draw() -> None:
        fresh = study_of(study_id)
        view = View.of(fresh) if fresh is not None else None
        if view is None or not view.trials:
            _nothing_yet(live)
            return
        _found(view, live)

    draw()
    if study is not None and not live and (job is None or job.state == "done"):
        more_bar(View.of(study))


def _nothing_yet(live: bool) -> None:
    if live:
        st.caption(":material/hourglass_top: The first trial, with the defaults, is under way. Charts begin when it is done.")
    else:
        empty_state("No trial was made", "The search ended before its first trial. Its log says why.", key="no-trial")


def _found(view: View, live: bool) -> None:
    if view.best is not None:
        result_card(view, live)
    elif not live:
        empty_state("No trial has a result", "Every trial failed or was stopped; the reasons are below.", key="no-result")
    else:
        st.caption(":material/hourglass_top: No trial is done yet. Charts begin when the first is.")
    warnings_box(failures(view.trials))
    if view.complete:
        _charts(view)
    _table(view)


# ---- charts and words ------------------------------------------------------------------------------
def _asked(spec: dict[str, Any]) -> str:
    """What was asked for, in one line; Markdown."""
    metrics = listing([metric_label(m) for m in spec.get("objectives", ())])
    limits = [count(spec["n_trials"], "trial")] if spec.get("n_trials") else []
    limits += [duration(60 * spec["minutes"])] if spec.get("minutes") else []
    parts = [
        f"Searches for the best {metrics}" if metrics else "",
        SAMPLERS.get(str(spec.get("sampler")), ""),
        f"at most {' or '.join(limits)}" if limits else "",
        "hopeless trials stopped early" if _stops_early(spec) else "",
        count(spec["workers"], "trial") + " at once" if spec.get("workers", 1) > 1 else "",
        f"seed {spec.get('train', {}).get('seed')}",
    ]
    return md(", ".join(filter(None, parts)) + ". Tuned on validation; the test part is read once, when you train the winner.")


def _stops_early(spec: dict[str, Any]) -> bool:
    """Whether it was asked for, and the model learns in passes that can be judged."""
    try:
        passes = "epochs" in registry.get("model", spec["train"]["model"]).Params.model_fields
    except NotFound:
        return False
    return passes and spec.get("pruner") != "none" and len(spec.get("objectives", ())) == 1


def _charts(view: View) -> None:
    """Each answers a question; what cannot be said yet is left out, and said."""
    done, names = view.complete, view.searched
    if len(done) < ENOUGH:
        st.caption(
            f":material/show_chart: Charts begin with {ENOUGH} complete trials; there {'is' if len(done) == 1 else 'are'} {len(done)}."
        )
        return
    alt = f"Trials by {metric_label(view.objectives[0])}"
    with st.container(border=True, key="tune-charts"):
        if len(view.objectives) > 1:
            _pareto(view)
        with st.grid(3 if view.importance else 2, min_column_width=300, gap="medium"):
            with st.container(gap="xsmall"):
                note = md(does_it_pay(view))
                charts.show(tune_charts.history(view), "Does searching still pay?", key=f"tune-history-{view.id}", note=note, alt=alt)
            if view.importance:
                with st.container(gap="xsmall"):
                    _importance(view)
            with st.container(gap="xsmall"):
                _slice(view, names)
        if len(names) > 1:
            _parallel(view, names)
        if len(tune_charts.with_curve(view)) > 1:
            _learning(view)


def _pareto(view: View) -> None:
    first, second = (metric_label(metric) for metric in view.objectives)
    trial = chosen_trial(view)
    aim = second.partition("@")[0]
    title = f"What does {md(aim[:1].lower() + aim[1:] if aim[1:2].islower() else aim)} cost?"
    alt = f"{first} against {second}, one point a trial"
    note = f"Filled points are the best choices: no other trial has more of both. Click a point to choose its settings. {md(_price(view))}"
    key = f"tune-front-{view.id}"
    fig = tune_charts.pareto(view, trial["number"] if trial else None)
    charts.show(fig, title, key=key, note=note.strip(), alt=alt, select=lambda: _clicked(view.id, key))


def _clicked(study_id: str, key: str) -> None:
    points = (st.session_state.get(key) or {}).get("selection", {}).get("points", [])
    data = next((point.get("customdata") for point in points if point.get("customdata")), None)
    if data:
        choose(study_id, int(data[0] if isinstance(data, list | tuple) else next(iter(data.values()))))


def _price(view: View) -> str:
    """From one end of the front to the other, in numbers."""
    ends = sorted((t for t in view.complete if t["number"] in view.front), key=lambda t: t["values"][0])
    if len(ends) < 2:
        return ""
    (a0, b0), (a1, b1) = ends[0]["values"], ends[-1]["values"]
    first, second = view.objectives
    return (
        f"From one end to the other {metric_label(first)} goes from {figure(a1, first)} to {figure(a0, first)} "
        f"and {metric_label(second)} from {figure(b1, second)} to {figure(b0, second)}."
    )


def _importance(view: View) -> None:
    top = max(view.importance, key=lambda name: view.importance[name])
    note = f"{md(view.label(top))} explains {share(view.importance[top])} of the differences between trials; with few trials a rough guess."
    charts.show(tune_charts.importance(view), "What matters?", key=f"tune-importance-{view.id}", note=note)


def _slice(view: View, names: list[str]) -> None:
    key = f"tune-slice-{view.id}"
    name = st.session_state.get(key)
    name = name if name in names else names[0]
    label = view.label(name)
    title = f"Which value of {md(label[:1].lower() + label[1:] if label[1:2].islower() else label, 50)} is good?"
    charts.show(tune_charts.slice_of(view, name), title, key=f"{key}-{name}", note="The star is the best trial, the diamond the defaults.")
    if len(names) > 1:
        st.selectbox("Setting", names, format_func=view.label, key=key, persist_state="session", label_visibility="collapsed")


def _parallel(view: View, names: list[str]) -> None:
    left_out = names[tune_parallel.AXES - 1 :]
    note = "One line a trial, from setting to setting to its result; the stronger its colour, the better. Point at a line to read it."
    if left_out:
        note += f" Not drawn: {md(listing([view.label(n) for n in left_out], 6))}."
    charts.show(tune_parallel.parallel(view, names), "Which settings go with good results?", key=f"tune-parallel-{view.id}", note=note)


def _learning(view: View) -> None:
    pruned = sum(t["state"] == "pruned" for t in view.trials)
    note = f"{count(pruned, 'trial')} stopped early, which left time for others." if pruned else "No trial was stopped early."
    if len(tune_charts.with_curve(view)) > tune_charts.CURVES:
        note += f" Drawn are the newest {tune_charts.CURVES}, the best and the defaults."
    charts.show(tune_charts.learning(view), "How did the trials learn?", key=f"tune-learning-{view.id}", note=note)


# ---- table -----------------------------------------------------------------------------------------
def _table(view: View) -> None:
    frame = table(view)
    columns: dict[str, Any] = {
        "number": st.column_config.NumberColumn("Trial", width=60, pinned=True, help="Trial 0 is the defaults."),
        "state": st.column_config.TextColumn("State"),
        "seconds": st.column_config.NumberColumn("Time", format="%.1f s"),
        "reason": st.column_config.TextColumn("Why it ended", width="large") if (frame["reason"] != "").any() else None,
    }
    for metric in view.objectives:
        columns[metric] = st.column_config.NumberColumn(metric_label(metric), format="%.4f")
    for name in view.searched:
        numeric = pd.api.types.is_float_dtype(frame[f"param:{name}"])
        column = st.column_config.NumberColumn if numeric else st.column_config.Column
        columns[f"param:{name}"] = column(view.label(name), **({"format": "%.4g"} if numeric else {}))
    key = f"tune-table-{view.id}"
    with st.container(border=True, key="tune-trials"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Trials", anchor=False, width="stretch")
            download("Download as CSV", lambda: table_csv(view), "trials.csv", key=f"tune-csv-{view.id}")
        st.caption(f"{md(view.tally())}. Tick a trial to look at its settings above, and to train with them.")
        if view.notes:
            st.caption(md(" ".join(view.notes)))
        st.dataframe(
            frame,
            key=key,
            hide_index=True,
            column_config=columns,
            height="auto" if len(frame) <= 10 else 400,
            on_select=lambda: _ticked(view, key),
            selection_mode="single-row",
            placeholder="",
            alt=f"Trials of {view.name}: {', '.join(STATES.values()).lower()}",
        )


def _ticked(view: View, key: str) -> None:
    rows = (st.session_state.get(key) or {}).get("selection", {}).get("rows", [])
    choose(view.id, view.trials[rows[0]]["number"] if rows else None)
