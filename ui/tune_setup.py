"""A new search on the Tune page: which model, which settings, what for, how long; one click to start it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.jobs import fits_in_memory
from recsys_core.jobs.tune_spec import TuneSpec
from recsys_core.params import build, fields
from recsys_core.tuning import make_space

from . import state
from .errors import error_box, guard
from .forms import params_form
from .fusion_form import ONE_OF_THEM, is_fused
from .text import count, listing, md, size
from .train_models import Offer, expected, offers, time_text
from .train_prefill import prefill_protocol
from .train_protocol import Protocol, protocol_form
from .tune_goal import Goal, goal_form
from .tune_space import as_declared, rows_of, space_form
from .tune_study import job_of, study_of


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
        goal = goal_form(model, entry.stats, protocol)
    _start(entry, model, protocol, rows, chosen, fixed, goal)


def _as_before(entry: Any, runs: Sequence[Any]) -> None:
    """Once a session and dataset: the split of the newest result, so that the winner can be compared with it."""
    seen = st.session_state.setdefault("_tune_split_of", set())
    if entry.id not in seen and runs:
        prefill_protocol(runs[0].spec)
    seen.add(entry.id)


def _model(found: Mapping[str, Offer], runs: Sequence[Any]) -> Any:
    """The recommender; at first that of the newest result that is no fusion: there is more to find in the settings of one model."""
    keys = [run.model_key for run in runs if run.model_key in found and rows_known(run.model_key)]
    newest = next((key for key in keys if found[key].family != "Fused"), keys[0] if keys else "ease")
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
        of_parts = [f.name for f in others if is_fused(model) and (f.kind in ("list", "dict") or f.name in ONE_OF_THEM)]
        values = params_form(model.Params, f"tune-form-{model.key}", hide=(*chosen, *of_parts))
        if of_parts:
            st.caption(_parts(model))
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


def _parts(model: Any) -> str:
    """Which models a fusion combines in each trial."""
    keys = next((f.default for f in fields(model.Params) if f.name == "models"), None) or []
    labels = [registry.get("model", key).label for key in keys]
    return f"Combines {md(listing(labels, 8))}, as by default." if labels else "Finds its parts by itself, as by default."


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
