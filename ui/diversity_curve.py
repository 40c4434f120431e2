"""The right side of the Diversity page: what the chosen strength buys and costs, on its curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from recsys_core.errors import NotFound
from recsys_core.evaluation import metric_label

from . import charts, navigation, state
from .compare_charts import ACRONYM
from .diversity_charts import curve
from .diversity_charts import methods as methods_chart
from .diversity_controls import Choice
from .diversity_data import KIND, Bench, Setting, estimate, kept_curve, kept_curves, methods, why_not
from .diversity_words import cheapest, cheapest_question, cheapest_sentence, pair, question, sentence, strength_text
from .errors import action, notify
from .export_shape import apply_shape
from .jobs import job_list, jobs_of
from .text import ago, count, md

BUDGET = 0.02  # of the accuracy, when methods are compared
LEAVE = "_diversity_to_export"


def leave_if_applied(run: Any) -> None:
    """Opens Export after "Apply to Export": a page switched from inside a fragment would not keep its dataset."""
    if st.session_state.pop(LEAVE, False):
        navigation.go("export", dataset=run.dataset_id, run=run.id)


def points_of(of: Bench, choice: Choice) -> tuple[Sequence[Mapping[str, Any]], Any]:
    """(points, the analysis they were kept in, or None for the live estimate)."""
    kept = kept_curve(of.run_id, choice.setting)
    return (kept.result()["points"], kept) if kept is not None else (estimate(of, choice.setting), None)


def curve_card(run: Any, of: Bench, choice: Choice, points: Sequence[Mapping[str, Any]]) -> None:
    """The sentence, the pair of figures and the curve."""
    now = min(range(len(points)), key=lambda n: abs(points[n]["strength"] - choice.strength))
    with st.container(border=True, key="diversity-curve", height="stretch"):
        opening = f"At {strength_text(points[now]['strength'])}" if choice.method.has_strength() else "Shaped like this,"
        with st.container(key="diversity-sentence", gap="xxsmall"):
            st.markdown(f"**{md(sentence(points[now], points[0], choice.other, choice.accuracy, opening))}**")
            st.caption(md(pair(points[now], points[0], (choice.accuracy, choice.other))))
        charts.show(
            curve(points, choice.other, choice.accuracy, now),
            question(choice.other) if choice.method.has_strength() else "What does it cost?",
            key="diversity-chart",
            alt=f"{metric_label(choice.accuracy)} against {metric_label(choice.other)}, a point a strength",
            note="Bars: 95 % interval of each mean. The sentence compares the same users with and without, so its interval is narrower.",
        )
        for note in _notes(run, of, choice.method):
            st.caption(f":material/info: {md(note)}")


def provenance(run: Any, of: Bench, choice: Choice, kept: Any) -> None:
    """What the figures stand on, how to have all of it, and the way on."""
    with st.container(horizontal=True):
        if st.button("Apply to Export", key="diversity-apply", type="primary", icon=":material/download:"):
            apply_shape(run.id, choice.setting.method, choice.params, choice.setting.k)
            st.session_state[LEAVE] = True
            st.rerun(scope="app")
        if kept is None:
            busy = _under_way(choice.setting.spec(run.id).analysis_id)
            label = "Work out the whole curve" if choice.method.has_strength() else "Work out for all users"
            if st.button(label, key="diversity-work-out", icon=":material/timeline:", disabled=busy):
                submit(run, [choice.setting])
                st.rerun(scope="app")
    if kept is not None:
        found = kept.result()
        st.caption(
            f":material/check_circle: Worked out on all {count(found.get('n_users'), 'test user')}, from {count(found.get('depth'))} "
            f"candidates each, {ago(kept.created)}."
        )
    else:
        n_all, n = len(of.candidates), len(of.sample)
        whom = f"{n:,} of {count(n_all, 'test user')}, drawn by chance" if of.is_sample else f"all {count(n, 'test user')}"
        st.caption(
            f":material/speed: A live estimate on {whom}, from the {count(of.depth)} candidates kept for each. "
            "Worked out in full, it uses everybody and up to 200 candidates, and is kept."
        )


def _under_way(job_id: str) -> bool:
    """The job of a curve has the id of what it makes."""
    try:
        return not state.queue().job(job_id).ended
    except NotFound:
        return False


def _notes(run: Any, of: Bench, method: Any) -> list[str]:
    notes = method.notes(of.shelf) or [f"How alike two items are is judged by {of.shelf.similarity}."]
    if run.folds:
        notes = [*notes, "This result was judged in several folds; the lists shaped here are those of the first."]
    return notes


@action
def submit(run: Any, settings: Sequence[Setting]) -> None:
    """Queue the whole curves; those that are there or under way are recognised."""
    for setting in settings:
        state.queue().submit(setting.spec(run.id).job(run.name))
    what = "curve is" if len(settings) == 1 else f"{count(len(settings))} curves are"
    notify(f"The {what} being worked out; this page follows it.", "info")


# ---- jobs and all methods ----------------------------------------------------------------------------
def jobs_card(run: Any) -> None:
    """Curves of this run under way, and those that failed."""
    mine = [job for job in jobs_of(kinds=(KIND,)) if job.spec.payload.get("run") == run.id]
    shown = [job.id for job in mine if job.state != "done"]
    if shown:
        st.subheader("Curves being worked out", anchor=False)
        job_list("diversity-jobs", ids=shown, keep=2)


def methods_card(run: Any, of: Bench, choice: Choice) -> None:
    """All methods worked out for this run, in one chart."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for analysis in kept_curves(run.id, choice.setting.k):  # newest first
        found.setdefault(str(analysis.payload.get("method")), analysis.result().get("points") or [])
    known = {key: found[key] for key in methods() if found.get(key)}
    reasons = why_not(of)
    missing = [key for key, cls in methods().items() if key not in known and not reasons[key] and cls.has_strength()]
    with st.container(border=True, key="diversity-methods"):
        st.subheader("Methods compared", anchor=False)
        if len(known) < 2:
            st.caption("With the whole curves of two or more methods, they are compared here: which one gives most for the same accuracy.")
        else:
            _compared(known, choice)
        if missing:
            label = f"Work out {'the other ' * bool(known)}{count(len(missing), 'method')}"
            if st.button(label, key="diversity-all", icon=":material/timeline:"):
                submit(run, [Setting.of(key, methods()[key].Params().model_dump(mode="json"), choice.setting.k) for key in missing])
                st.rerun(scope="app")


def _compared(known: Mapping[str, Sequence[Mapping[str, Any]]], choice: Choice) -> None:
    names = {key: ACRONYM.sub(r"\1", cls.label) for key, cls in methods().items()}
    curves = {names[key]: points for key, points in known.items()}
    best = cheapest(curves, choice.other, choice.accuracy, BUDGET)
    st.markdown(f"**{md(cheapest_sentence(best, choice.other, choice.accuracy, BUDGET))}**")
    positions = {name: n for n, name in enumerate(names.values())}
    charts.show(
        methods_chart(curves, positions, choice.other, choice.accuracy), cheapest_question(choice.other), key="diversity-compare",
        note="Further right and higher is better. Each line starts at the list as the model makes it.",
    )  # fmt: skip
