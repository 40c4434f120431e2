"""The live list of background jobs: progress, training panel, Cancel, Continue or Run again, log. It polls only while jobs live."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound

from . import navigation, state
from .errors import action, guarded
from .text import ago, count, duration, md, number
from .training_data import NOT_A_MEASURE, SAID, is_number, measure_label, place, stories
from .training_panel import live_panel, past_panel

PANEL = "Training, pass by pass"  # one label before and after: with another one it would fold itself up when the job ends
BADGES = {
    "queued": (":gray-badge[Waiting]"),
    "running": (":blue-badge[Running]"),
    "done": (":green-badge[Done]"),
    "failed": (":red-badge[Failed]"),
    "cancelled": (":gray-badge[Cancelled]"),
    "interrupted": (":orange-badge[Interrupted]"),
}


def jobs_of(dataset: str | None = None, kinds: Collection[str] | None = None, ids: Collection[str] | None = None) -> list[Any]:
    """Jobs as they are shown: running, then waiting in their order, then ended, newest first."""
    found = [
        job
        for job in state.queue().jobs()
        if (kinds is None or job.kind in kinds) and (ids is None or job.id in ids) and (dataset is None or dataset_of(job) == dataset)
    ]
    live = [job for job in found[::-1] if not job.ended]
    return [j for j in live if j.state == "running"] + [j for j in live if j.state == "queued"] + [j for j in found if j.ended]


def dataset_of(job: Any) -> str | None:
    """The dataset a job works with, where it names one; a search names it within what its trials have in common."""
    payload = job.spec.payload
    return payload.get("dataset") or (payload.get("train") or {}).get("dataset")


def live_jobs(**which: Any) -> list[Any]:
    """Those that run or wait."""
    return [job for job in jobs_of(**which) if not job.ended]


def job_list(
    key: str = "jobs",
    *,
    dataset: str | None = None,
    kinds: Collection[str] | None = None,
    ids: Collection[str] | None = None,
    keep: int = 4,
    empty: str = "No jobs yet.",
    on_change: Callable[[], None] | None = None,
) -> None:
    """Draw the jobs of a dataset (or of some kinds, or these ids); `keep` ended ones are shown.

    The page is run again once when a job ends, so that what depends on it is drawn anew; until then only this list
    changes. on_change: called just before that.
    """
    which = {"dataset": dataset, "kinds": kinds, "ids": ids}
    live = bool(live_jobs(**which))

    @st.fragment(run_every=1.0 if live else None, key=f"{key}-fragment")
    @guarded
    def draw() -> None:
        jobs = jobs_of(**which)
        ended = sorted(job.id for job in jobs if job.ended)
        before = st.session_state.get(f"_{key}_ended")
        st.session_state[f"_{key}_ended"] = ended
        if not live and any(not job.ended for job in jobs):
            st.rerun(scope="app")  # one of them goes on: only a run of the whole page makes the list poll again
        if live and before is not None and before != ended:
            if on_change is not None:
                on_change()
            st.rerun(scope="app")
        if not jobs:
            st.caption(empty)
            return
        shown = [job for job in jobs if not job.ended] + [job for job in jobs if job.ended][:keep]
        for job in shown:
            _job(job, key)
        hidden = len(jobs) - len(shown)
        if ended and keep:
            with st.container(horizontal=True, vertical_alignment="center"):
                about = "Removes them from this list. Their results stay."
                st.button("Clear ended jobs", key=f"{key}-clear", type="tertiary", on_click=_clear, args=(ended,), help=about)
                if hidden:
                    st.caption(f"{count(hidden, 'older job')} not shown.")

    draw()


def _job(job: Any, key: str) -> None:
    with st.container(border=True, key=f"{key}-{job.id}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{md(job.title, 70)}** {BADGES[job.state]}", width="stretch")
            if not job.ended:
                st.button("Cancel", key=f"{key}-cancel-{job.id}", icon=":material/stop_circle:", on_click=_cancel, args=(job.id, job.title))
            elif job.state != "done":
                _again(job, key)
            elif job.kind == "train" and state.workspace().has_run(job.run_id):
                navigation.link("compare", "See its result", dataset=job.spec.payload.get("dataset"), runs=[job.run_id])
            elif job.kind == "tune" and job.result.get("study"):
                navigation.link("tune", "See its result", dataset=dataset_of(job), study=job.result["study"])
        now = job.progress() if job.state == "running" else {}
        steps = _curve(job) if job.kind == "train" and job.state != "queued" else []
        if job.state == "running":
            _progress(now, steps, own_words=job.kind in ("tune", "ablation"))
        elif job.ended:
            took = "" if job.seconds is None else f" · took {duration(job.seconds)}"
            st.caption(f"{md(job.reason)} " * bool(job.reason) + f"{_judged_how(job)}{ago(job.finished or job.submitted)}{took}")
        if steps:
            _training(job, steps, now, key)
        if job.state in ("failed", "interrupted", "running"):
            log = st.expander("Log", key=f"{key}-log-{job.id}", on_change="rerun", type="compact")
            if log.open:
                log.code(job.log() or "Nothing was written yet.", language=None, height=260)


def _again(job: Any, key: str) -> None:
    """Continue where there is a checkpoint, Run again where there is none."""
    label, icon, about = "Run again", ":material/replay:", None
    if job.can_continue:
        label, icon = "Continue", ":material/resume:"
        about = "Goes on from the last checkpoint, with the same result as if it had not been stopped. Few passes are done again."
    elif job.kind == "tune":
        label, icon, about = "Continue", ":material/resume:", "Goes on with the trials that are there."
    elif job.kind == "ablation":
        label, icon, about = "Continue", ":material/resume:", "Goes on with the variants that are there."
    st.button(label, key=f"{key}-again-{job.id}", icon=icon, on_click=_retry, args=(job.id,), help=about)


def _training(job: Any, steps: list[dict[str, Any]], now: dict[str, Any], key: str) -> None:
    """The panel, folded away until asked for; it stays as it was when the job ends."""
    live = job.state == "running"
    name, unfolded = f"{key}-panel-{job.id}", st.session_state.setdefault(f"_{key}_unfolded", set())
    if job.id in unfolded and name not in st.session_state:
        st.session_state[name] = True  # it was not drawn for a while: a job that goes on waits first
    fold = st.expander(PANEL, key=name, on_change="rerun", type="compact")
    (unfolded.add if fold.open else unfolded.discard)(job.id)
    if fold.open:
        with fold:
            if live:
                live_panel(steps, now, f"{key}-training-{job.id}")
            else:
                past_panel(steps, f"{key}-training-{job.id}")


def _curve(job: Any) -> list[dict[str, Any]]:
    """The passes so far, read again only when there are more."""
    try:
        written = (job.path / "progress.jsonl").stat()
    except OSError:
        return []
    return _read_curve(str(job.path), written.st_mtime_ns, written.st_size, job)


@st.cache_resource(max_entries=64, show_spinner=False)
def _read_curve(path: str, changed: int, n_bytes: int, _job: Any) -> list[dict[str, Any]]:
    return _job.curve()


def _judged_how(job: Any) -> str:
    """Of a training job: its split and seed, which tell apart jobs of the same model; Markdown."""
    if job.kind != "train":
        return ""
    try:
        rule = registry.get("splitter", str(job.spec.payload.get("split"))).label
    except NotFound:
        rule = str(job.spec.payload.get("split"))
    return f"{md(rule)}, seed {md(job.spec.payload.get('seed'))} · "


def _progress(now: dict[str, Any], steps: list[dict[str, Any]], own_words: bool = False) -> None:
    """A bar with one line: where it is, the best so far, how long it will take. own_words: the stage is a sentence for people."""
    fraction = min(1.0, max(0.0, float(now.get("fraction") or 0.0)))
    stage = str(now.get("stage") or "Starting")
    parts = [stage if own_words else stage.replace("_", " ").capitalize()]
    if now.get("epoch") is not None:
        part, kind = place(stage)
        parts = [*filter(None, [part]), SAID[kind], f"pass {now['epoch']}" + (f" of {now['epochs']}" if now.get("epochs") else "")]
        story = next((story for story in stories(steps) if story.part == part), None)
        if story is not None and story.best is not None:
            parts.append(f"best {measure_label(story.metric)} {story.best[1]:.4f} at pass {story.best[0]}")
        else:
            told = {name: value for name, value in (now.get("metrics") or {}).items() if is_number(value) and name not in NOT_A_MEASURE}
            parts += [f"{measure_label(name).lower()} {number(value)}" for name, value in list(told.items())[:1]]
    if now.get("seconds_left") is not None:
        left = now["seconds_left"]
        parts.append("nearly done" if left < 1 else f"about {duration(left) if left >= 10 else f'{round(left)} s'} left")
    st.progress(fraction, text=md(" · ".join(parts)))


@action
def _cancel(job_id: str, title: str) -> None:
    state.queue().cancel(job_id)
    st.toast(f"Cancelled: {md(title, 70)}.", icon=":material/stop_circle:")  # a notice would move the page


@action
def _retry(job_id: str) -> None:
    state.queue().retry(job_id)


@action
def _clear(ids: list[str]) -> None:
    state.queue().clear(ids)
