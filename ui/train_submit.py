"""From choices to jobs on the Train page: what is new, what is there already, one click to queue it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core.errors import WorkbenchError
from recsys_core.jobs import TrainSpec

from . import navigation, state
from .errors import action, error_box, guard
from .fusion_form import fused_name
from .sensible import SENSIBLE, sensible_specs
from .text import count, listing, md, size
from .train_models import Offer, time_text
from .train_protocol import Protocol
from .train_seeds import repeat_choice, with_other_seeds
from .train_settings import Chosen


@dataclass(frozen=True)
class Order:
    """What a click would do. new: to be queued; done: runs that exist; under_way: titles of jobs that live."""

    new: list[TrainSpec]
    done: list[Any]
    under_way: list[str]


def order_of(specs: Sequence[TrainSpec]) -> Order:
    """Sort specs into what is new, trained or under way; the same one given twice counts once."""
    workspace = state.workspace()
    live = {job.run_id: job.title for job in state.queue().jobs(["queued", "running"])}
    new, done, under_way = [], [], []
    for spec in {spec.run_id: spec for spec in specs}.values():
        if spec.run_id in live:
            under_way.append(live[spec.run_id])
        elif workspace.has_run(spec.run_id):
            done.append(workspace.run(spec.run_id))
        else:
            new.append(spec)
    return Order(new, done, under_way)


def train_bar(protocol: Protocol | None, chosen: Sequence[Chosen], rows: Sequence[Offer]) -> None:
    """The button, and in one sentence each what it will do and what is there already."""
    specs: list[TrainSpec] = []
    ready = protocol is not None and bool(chosen) and all(c.params is not None for c in chosen)
    if ready:
        try:
            specs = [protocol.spec(c.key, c.params.model_dump(mode="json"), name=c.name) for c in chosen]
            specs = [spec if spec.name else spec.model_copy(update={"name": fused_name(spec)}) for spec in specs]
            specs = with_other_seeds(specs, repeat_choice(protocol))
        except WorkbenchError as error:
            error_box(error)
            ready = False
    order = order_of(specs)
    label = f"Train {count(len(order.new), 'model')}" if order.new else "Train"
    with st.container(horizontal=True, vertical_alignment="center"):
        clicked = st.button(label, type="primary", key="train-chosen", icon=":material/play_arrow:", disabled=not order.new)
        st.markdown(_what(protocol, chosen, order, ready), width="stretch")
    for run in order.done:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/check_circle: **{md(run.name, 70)}** is trained already with these settings.", width="content")
            navigation.link("compare", "See its result", dataset=run.dataset_id, runs=[run.id])
    for title in order.under_way:
        st.markdown(f":material/hourglass_top: **{md(title, 70)}** is under way already; see the jobs below.")
    if clicked:
        submit(order.new)


def _what(protocol: Protocol | None, chosen: Sequence[Chosen], order: Order, ready: bool) -> str:
    if not chosen:
        return ":gray[Tick one or more models above.]"
    if protocol is None:
        return ":gray[Complete how results are measured, at the top of the page.]"
    if not ready:
        wrong = [c.label for c in chosen if c.params is None]
        return f":gray[Correct the settings of {md(listing(wrong))} first.]" if wrong else ""
    return "" if order.new else ":gray[Nothing new to train.]"


def submit(specs: Sequence[TrainSpec]) -> None:
    """Queue and say so where nothing moves."""
    with guard():
        jobs = state.queue().submit_many(specs)
        st.session_state["_queued"] = f"{count(len(jobs), 'job')} queued. Follow them under Jobs, below."
        st.rerun()


def say_queued() -> None:
    """After a submission: a toast, which moves nothing on the page."""
    text = st.session_state.pop("_queued", "")
    if text:
        st.toast(md(text), icon=":material/check_circle:")


def parallel_setting() -> None:
    """How many jobs run at the same time; kept in the workspace."""
    queue = state.queue()
    st.number_input(
        "Jobs at once",
        min_value=1,
        max_value=64,
        value=queue.parallel,
        step=1,
        key="parallel-jobs",
        width=150,
        on_change=_set_parallel,
        help="More than one finishes a set sooner on a machine with many cores, but each job takes memory. Running jobs go on.",
    )


@action
def _set_parallel() -> None:
    state.queue().set_parallel(int(st.session_state["parallel-jobs"]))


def under_way(n_live: int) -> None:
    """One line that is always there, so that nothing moves when a job ends."""
    if n_live:
        st.caption(f":material/hourglass_top: {count(n_live, 'job')} under way on this dataset. [See the jobs](#jobs)")
    else:
        st.caption(":material/check_circle: No job under way on this dataset. [See the jobs](#jobs)")


def sensible_card(entry: Any, protocol: Protocol | None, rows: Sequence[Offer]) -> None:
    """Compare a sensible set in one click."""
    by_key = {offer.key: offer for offer in rows}
    names = [by_key[key].label for key in SENSIBLE if key in by_key]
    with st.container(border=True, key="sensible"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            with st.container(gap="xsmall", width=820):
                st.subheader("Not sure where to start?", anchor=False)
                st.caption(f"Trains {md(listing(names, 8))} with good defaults: from the yardstick to the strongest, one of each kind.")
            clicked = st.button("Compare a sensible set", key="train-sensible", icon=":material/auto_awesome:", disabled=protocol is None)
        if protocol is None:
            return
        specs, left_out = sensible_specs(
            entry.id, entry.stats, split=protocol.split, split_params=protocol.split_params, ks=protocol.ks, seed=protocol.seed
        )
        order = order_of(specs)
        for sentence in left_out:
            st.caption(f":material/block: Left out: {md(sentence)}")
        if order.done and not order.new and not order.under_way:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(":material/check_circle: All of them are trained already.", width="content")
                navigation.link("compare", "See the leaderboard", dataset=entry.id, runs=[run.id for run in order.done])
        elif order.new:
            seconds = sum(by_key[spec.model].seconds for spec in order.new if spec.model in by_key)
            memory = max((by_key[spec.model].memory_bytes for spec in order.new if spec.model in by_key), default=0)
            there = f"{count(len(order.done), 'is', 'are')} trained already; the others take" if order.done else "Together they take"
            st.caption(f":material/schedule: {there} {md(time_text(seconds))} and, one at a time, at most {md(size(memory))} of memory.")
        if clicked:
            if order.new:
                submit(order.new)
            elif order.under_way:
                st.toast("They are under way already.", icon=":material/hourglass_top:")
            else:
                navigation.go("compare", dataset=entry.id, runs=[run.id for run in order.done])
