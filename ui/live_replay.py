"""The tab "Does learning online help?": held-out events replayed against the frozen model, and what it comes to."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from recsys_core.serving.replay_run import KIND, ReplaySpec

from . import charts, live_charts, state
from .bundle_form import not_for_bundles
from .components import download, metric_row, protocol_card
from .errors import action, guarded
from .jobs import job_list, jobs_of
from .text import ago, count, md

SPEEDS = {0.0: "As fast as possible", 50.0: "50 a second", 10.0: "10 a second"}


def replay_tab(dataset_id: str, run: Any) -> None:
    """The whole tab."""
    reason = not_for_bundles(run)
    if reason:
        st.info(md(reason), icon=":material/info:")
        return
    spec = ReplaySpec.make(run=run.id)
    wanted = spec.analysis_id(run)
    entry = next((one for one in state.workspace().analyses(KIND) if one.id == wanted), None)
    mine = [job for job in jobs_of(kinds=(KIND,)) if job.spec.payload.get("run") == run.id]
    live = [job for job in mine if not job.ended]
    if live:
        _growing(live[0])
    with st.container(border=True, key="live-replay-ask"):
        _ask(run, bool(live), known=entry is not None)
    if mine and mine[0].state != "done":  # what went wrong before the result shown is of no use
        job_list("live-replay-jobs", ids={job.id for job in mine if job.state != "done"}, keep=1)
    if entry is not None and not live:
        try:
            show(entry, entry.result())
        except (KeyError, TypeError):
            st.warning("This replay cannot be read: its file is damaged. Delete it, and replay again.", icon=":material/warning:")


def _ask(run: Any, busy: bool, *, known: bool) -> None:
    st.markdown(
        "What people went on to do is taken in event by event, in the order of time. Before each one: was the item on the list of the "
        "model that took in all events before, and on the list of the model as it was trained?"
    )
    speed = st.segmented_control(
        "Speed", list(SPEEDS), format_func=SPEEDS.get, default=0.0, required=True, key="live-speed-choice",
        help="Changes nothing of the result.",
    )  # fmt: skip
    label = "Replay again" if known else "Replay the held-out events"
    st.button(
        label, key="live-replay", type="secondary" if known else "primary", icon=":material/replay:" if known else ":material/play_arrow:",
        disabled=busy, on_click=_submit, args=(run.id, float(speed or 0.0)),
    )  # fmt: skip


@action
def _submit(run_id: str, speed: float) -> None:
    workspace = state.workspace()
    run = workspace.run(run_id)
    spec = ReplaySpec.make(run=run_id, speed=speed)
    there = next((one for one in workspace.analyses(KIND) if one.id == spec.analysis_id(run)), None)
    if there is not None:
        workspace.delete(there.id)  # else the job would have nothing to add
    job = spec.job(run)
    ended = [one.id for one in jobs_of(kinds=(KIND,)) if one.ended and one.spec.key == job.key]
    state.queue().clear(ended)
    state.queue().submit(job)


def _growing(job: Any) -> None:
    """The chart while the replay goes on."""

    @st.fragment(run_every=1.0, key="live-growing")
    @guarded
    def draw() -> None:
        points = points_of(job)
        with st.container(border=True, key="live-growing-chart"):
            if len(points) > 1:
                note = "Over the last 500 events that are measured."
                charts.show(live_charts.rates(points, "measured"), "How many items were foretold, so far?", key="live-rates-now", note=note)
            else:
                st.caption("The chart grows here as soon as fifty events are measured.")

    draw()


def points_of(job: Any) -> list[dict[str, Any]]:
    """The points the job has told so far, oldest first."""
    try:
        lines = (job.path / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            metrics = json.loads(line).get("metrics") or {}
        except (ValueError, AttributeError):  # the last line may still be written
            continue
        if "online" in metrics:
            found.append(metrics)
    return found


def show(entry: Any, result: dict[str, Any]) -> None:
    """What came of it."""
    with st.container(border=True, key="live-replay-result"):
        st.markdown(f"**{md(result['verdict'][0])}**")
        for sentence in result["verdict"][1:]:
            st.markdown(md(sentence))
        rates = result["rates"]
        if rates:
            metric_row([(label, _percent(rates[name]["mean"]), _interval(rates[name])) for name, label in live_charts.LINES.items()])
        points = result["points"]
        if len(points) > 1:
            note = f"Share of the last {result['window']} measured events whose item was on the list of {result['k']}."
            charts.show(
                live_charts.rates(points), "How many items were foretold, as events came in?", key=f"live-rates-{entry.id}", note=note
            )
            note = "Hits of the model that learns online minus those of the frozen one, so far. Band: 95 % interval over users."
            charts.show(live_charts.gained(points), "What does learning online add?", key=f"live-gained-{entry.id}", note=note)
        for note in result["notes"]:
            st.caption(f":material/info: {md(note)}")
        with st.container(horizontal=True):
            if points:
                download("Points as CSV", pd.DataFrame(points).to_csv(index=False), f"replay-{entry.id[:8]}.csv", key="live-replay-csv")
    protocol_card(facts(entry, result))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(rate: dict[str, float]) -> str:
    return f"95 % interval over users: {_percent(rate['low'])} to {_percent(rate['high'])}."


def facts(entry: Any, result: dict[str, Any]) -> dict[str, str]:
    out = {
        "Events replayed": count(result["events"]),
        "Measured": f"{count(result['measured'])} of {count(result['users'], 'user')}: of items they liked and did not have before",
        "Not measured": f"{count(result['had'])} of items they had before, {count(result['disliked'])} of items they did not like",
        "Items that came after training": count(result["new_items"]),
        "Users the model was not trained on": count(result["new_users"]),
        "Left out of every list alike": "what the user had by then",
        "Compared": "paired by user, with the bootstrap interval and the paired t-test the Compare page uses",
        "Time for one list": f"{result['ms']:.2f} ms in the predictor",
        "Replayed": ago(entry.created),
    }
    return out
