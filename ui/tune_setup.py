"""A new search on the Tune page: which model, which settings, what for, how long; one click to start it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.evaluation import metric_label
from recsys_core.jobs import fits_in_memory
from recsys_core.jobs.tune_spec import TuneSpec
from recsys_core.params import build, fields
from recsys_core.tuning import make_space

from . import state
from .errors import error_box, guard
from .forms import params_form
from .text import count, listing, md, size
from .train_models import Offer, expected, offers, time_text
from .train_prefill import prefill_protocol
from .train_protocol import Protocol, protocol_form
from .tune_space import as_declared, rows_of, space_form
from .tune_study import job_of, study_of

SAMPLERS = {"tpe": "Learn from earlier trials", "random": "At random", "grid": "Every combination"}
SAMPLERS_HELP = (
    "Learn from earlier trials (TPE): looks where results were good; the usual choice. At random: spreads evenly. "
    "Every combination: a grid, for few settings with few values."
)
PRUNERS = {"none": "Off", "median": "Below the usual", "halving": "Only the best go on"}
PRUNERS_HELP = (
    "For models that train in passes. Below the usual: a trial ends when it is worse than half of the earlier ones were after as many "
    "passes (median). Only the best go on: every few passes the worse ones end (successive halving)."
)
AGAINST = ("intra_list_diversity", "coverage", "novelty", "serendipity", "personalisation", "long_tail_share", "gini", "popularity")
USUAL_K = 20


@dataclass(frozen=True)
class Goal:
    """What for and how: objectives, and the rest of a TuneSpec."""

    objectives: tuple[str, ...]
    options: dict[str, Any]


def setup(entry: Any, runs: Sequence[Any]) -> None:
    """The form, and the button that starts the search."""
    _as_before(entry, runs)
    found = {offer.key: offer for offer in offers(entry.id, 1, entry.stats) if not offer.why_not}
    with st.container(border=True, key="tune-what"):
        st.subheader("What to tune", anchor=False)
        model = _model(found, runs)
        with st.expander("How trials are measured", icon=":material/fact_check:", key="tune-protocol"):
            protocol = protocol_form(entry)
        st.caption(_measured(protocol, runs))
    rows = rows_of(model.key, entry.stats)
    if not rows:
        st.info(
            f"{md(model.label)} has no settings with a range, so there is nothing to search. Choose another recommender.",
            icon=":material/info:",
        )
        return
    with st.container(border=True, key="tune-space"):
        st.subheader("Settings to search", anchor=False)
        st.caption("The first trial takes the defaults; the others try values from these ranges.")
        chosen = space_form(model, rows)
        fixed = _fixed(model, chosen)
    with st.container(border=True, key="tune-goal"):
        st.subheader("What for, and how long", anchor=False)
        goal = _goal(model, entry.stats, protocol)
    _start(entry, model, protocol, rows, chosen, fixed, goal)


def _as_before(entry: Any, runs: Sequence[Any]) -> None:
    """Once a session and dataset: the split of the newest result, so that the winner can be compared with it."""
    seen = st.session_state.setdefault("_tune_split_of", set())
    if entry.id not in seen and runs:
        prefill_protocol(runs[0].spec)
    seen.add(entry.id)


def _model(found: Mapping[str, Offer], runs: Sequence[Any]) -> Any:
    """The recommender; at first that of the newest result."""
    newest = next((run.model_key for run in runs if run.model_key in found and rows_known(run.model_key)), "ease")
    key = "tune-model"
    if st.session_state.get(key) not in found:
        st.session_state[key] = newest if newest in found else next(iter(found))
    chosen = st.selectbox(
        "Recommender",
        list(found),
        format_func=lambda k: f"{found[k].label} ({found[k].family.lower()})" if k in found else str(k),
        key=key,
        persist_state="session",
        help="Those that can be trained on this dataset.",
    )
    st.caption(md(found[chosen].summary))
    return registry.get("model", chosen)


def rows_known(model_key: str) -> bool:
    """Whether it has anything to search."""
    return any(f.tune or len(f.choices) > 1 for f in fields(registry.get("model", model_key).Params))


def _measured(protocol: Protocol | None, runs: Sequence[Any]) -> str:
    if protocol is None:
        return ":orange[:material/warning: Complete how trials are measured.]"
    same = sum(1 for run in runs if run.split_id == protocol.split_id)
    beside = f" The same split as {count(same, 'result')} here, so the winner can be compared with {'it' if same == 1 else 'them'}." * bool(
        same
    )
    told = "Tuned on validation; the test part is read once, when you train the winner."
    return f":material/fact_check: {md(protocol.rule)}{beside} {told}"


def _fixed(model: Any, chosen: Mapping[str, Any]) -> dict[str, Any] | None:
    """The other settings, folded away: those that are not as by default; None while something is wrong."""
    described = fields(model.Params)
    others = [f for f in described if f.name not in chosen]
    if not others:
        return {}
    with st.expander(
        f"Settings that stay as they are ({count(len(others), 'setting')})", icon=":material/lock:", key=f"tune-fixed-{model.key}"
    ):
        values = params_form(model.Params, f"tune-form-{model.key}", hide=tuple(chosen))
    own = {f.name: values[f.name] for f in others if values[f.name] != f.default}
    try:
        plain = build(model.Params, own, owner=model.label).model_dump(mode="json")
    except WorkbenchError as error:
        error_box(error)
        return None
    own = {f.name: plain[f.name] for f in others if plain[f.name] != f.default}
    if own:
        st.caption(f"Not as by default: {md(listing([f.label for f in others if f.name in own], 6))}.")
    return own


# ---- what for, how long ----------------------------------------------------------------------------
def _goal(model: Any, stats: Any, protocol: Protocol | None) -> Goal:
    metrics = {
        key: cls for key, cls in registry.all_of("metric").items() if cls.kind != "rating" or (model.card().can_rate and stats.has_ratings)
    }
    first_ones = sorted(metrics, key=lambda key: (key != "ndcg", ("accuracy", "rating", "beyond").index(metrics[key].kind)))
    about: dict[str, Any] = {"persist_state": "session"}
    with st.grid(3, min_column_width=230, gap="medium"):
        first = st.selectbox(
            "Find the best",
            first_ones,
            format_func=metric_label,
            key="tune-first",
            help="Measured on validation data after each trial.",
            **about,
        )
        ks = list(protocol.ks) if protocol else [USUAL_K]
        usual = USUAL_K if USUAL_K in ks else ks[-1]
        if st.session_state.get("tune-k") not in (None, *ks):
            st.session_state["tune-k"] = usual
        k = st.segmented_control(
            "List length k", ks, default=usual, key="tune-k", required=True, help="How many recommendations are judged.", **about
        )
        seconds = [None, *[key for key in AGAINST if key in metrics and key != first]]
        if st.session_state.get("tune-second") not in seconds:
            st.session_state["tune-second"] = None
        second = st.selectbox(
            "Weigh against",
            seconds,
            format_func=lambda key: "Nothing" if key is None else metric_label(key),
            key="tune-second",
            help="A second aim. The search then finds the trials nothing beats in both, and you choose among them.",
            **about,
        )
    for key in filter(None, (first, second)):
        st.caption(f"{md(metrics[key].label)}: {md(metrics[key].help)}")
    names = tuple(_name(key, metrics[key], k or usual) for key in (first, second) if key)
    return Goal(names, _options(model, len(names)))


def _name(key: str, cls: Any, k: int) -> str:
    return key if cls.kind == "rating" else f"{key}@{k}"


def _options(model: Any, n_objectives: int) -> dict[str, Any]:
    about: dict[str, Any] = {"persist_state": "session"}
    with st.grid(3, min_column_width=230, gap="medium"):
        sampler = st.selectbox(
            "How settings are chosen", list(SAMPLERS), format_func=SAMPLERS.get, key="tune-sampler", help=SAMPLERS_HELP, **about
        )
        n_trials = st.number_input("Trials at most", 0, 10_000, 20, key="tune-trials", help="0: as many as the minutes allow.", **about)
        minutes = st.number_input("Minutes at most", 0.0, 10_080.0, 0.0, 5.0, "%g", key="tune-minutes", help="0: no limit.", **about)
        passes = "epochs" in model.Params.model_fields
        if passes and n_objectives == 1:
            pruner = st.selectbox(
                "Stop hopeless trials early", list(PRUNERS), 1, format_func=PRUNERS.get, key="tune-pruner", help=PRUNERS_HELP, **about
            )
        else:
            pruner = "none"
        cores = os.cpu_count() or 1
        told = f"More finish sooner where there are cores (this machine has {cores}), but each takes memory."
        workers = st.number_input("Trials at once", 1, 64, 1, key="tune-workers", help=told, **about)
        name = st.text_input("Name (optional)", key="tune-name", max_chars=120, placeholder="Made from the model", **about)
    if passes and n_objectives > 1:
        st.caption("With two aims every trial runs to its end.")
    return {
        "sampler": sampler or "tpe",
        "pruner": pruner or "none",
        "n_trials": int(n_trials or 0),
        "minutes": float(minutes or 0.0),
        "workers": int(workers or 1),
        "name": name.strip(),
    }


# ---- start -----------------------------------------------------------------------------------------
def _start(
    entry: Any,
    model: Any,
    protocol: Protocol | None,
    rows: Sequence[Mapping[str, Any]],
    chosen: dict[str, list[Any]],
    fixed: dict[str, Any] | None,
    goal: Goal,
) -> None:
    spec = _spec(entry, model, protocol, rows, chosen, fixed, goal)
    there = None if spec is None else study_of(spec.study_id)
    job = None if spec is None else job_of(spec.study_id)
    under_way = job is not None and not job.ended
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Open this search" if there or under_way else "Start the search"
        icon = ":material/open_in_new:" if there or under_way else ":material/play_arrow:"
        clicked = st.button(label, type="primary", key="tune-start", icon=icon, disabled=spec is None)
        if spec is not None:
            st.markdown(
                _takes(entry, model, spec, fixed or {}) if not (there or under_way) else ":gray[There is a search like this already.]",
                width="stretch",
            )
    if clicked and spec is not None:
        with guard():
            if not (there or under_way):
                state.queue().submit(spec.job())
            state.remember(study=spec.study_id)
            st.rerun()


def _spec(
    entry: Any,
    model: Any,
    protocol: Protocol | None,
    rows: Sequence[Any],
    chosen: dict[str, list[Any]],
    fixed: dict[str, Any] | None,
    goal: Goal,
) -> TuneSpec | None:
    """What a click starts; None after saying what is missing."""
    if protocol is None or fixed is None:
        return None
    if not chosen:
        st.info("Tick at least one setting to search.", icon=":material/info:")
        return None
    try:
        space = make_space(model, fixed, chosen, entry.stats)
        if goal.options["sampler"] == "grid":
            space.require_grid()
            st.caption(f"There are {count(space.n_combinations, 'combination')}; of a range about four values are tried.")
        fits, sentence = fits_in_memory(model, build(model.Params, fixed, owner=model.label), entry.stats)
        if not fits:
            st.error(md(sentence), icon=":material/memory:")
            return None
        usual = as_declared(rows, chosen) and not fixed
        return TuneSpec.make(
            train=protocol.spec(model.key, fixed), space={} if usual else chosen, objectives=goal.objectives, **goal.options
        )
    except WorkbenchError as error:
        error_box(error)
        return None


def _takes(entry: Any, model: Any, spec: TuneSpec, fixed: dict[str, Any]) -> str:
    """How long the budget is expected to take: one trial costs about what one training does."""
    try:
        seconds, memory = expected(model, build(model.Params, fixed, owner=model.label), entry.stats)
    except WorkbenchError:
        return ""
    limits = [seconds * spec.n_trials / spec.workers] if spec.n_trials else []
    limits += [60 * spec.minutes] if spec.minutes else []
    what = f" for {count(spec.n_trials, 'trial')}" if spec.n_trials and not spec.minutes else ""
    each = f"{size(memory)} of memory" + (" each" if spec.workers > 1 else "")
    told = time_text(min(limits))
    return f":gray[:material/schedule: {md(told[:1].upper() + told[1:] + what)}, {md(each)}.]"
