"""The comparison set: what is trained, with one click, so that models that learn from a few clicks have something to be held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import params as params_module
from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.cold_start_spec import SPLIT

from . import navigation, state
from .compare_data import Group
from .errors import action, notify
from .fusion_form import is_fused
from .jobs import job_list, jobs_of
from .text import count, listing, md, size
from .train_features import says_of_items
from .train_models import offers, time_text
from .train_submit import Order, order_of

YARDSTICKS = ("popular", "content_knn", "ease", "item_knn", "als", "mult_vae", "fine_tuned")
CONTROL = "fine_tuned"  # the same network, trained without meta-learning
META_FIRST = ("anil", "fomaml", "proximal_meta")
CHOSEN_AT_FIRST = 2
KS, SEED = (5, 10, 20), 42


@dataclass(frozen=True)
class Plan:
    """The set for some meta models. there: results of this split by model key; order: what a click would do; left_out: sentences."""

    keys: tuple[str, ...]
    there: Mapping[str, Any]
    order: Order
    left_out: tuple[str, ...]
    seconds: float
    memory_bytes: int


def meta_keys() -> list[str]:
    """Models that adapt to a new user, those first that are suggested; the control and fusions are none of them."""
    found = [key for key, cls in registry.all_of("model").items() if cls.adapts and key != CONTROL and not is_fused(cls)]
    return [key for key in META_FIRST if key in found] + [key for key in found if key not in META_FIRST]


def missing_roles(models: Iterable[str]) -> list[str]:
    """What a comparison lacks, in words; [] when it can tell whether learning from clicks pays."""
    keys, metas = set(models), set(meta_keys())
    roles = {
        "a model that learns from the clicks": metas,
        "one that folds them in, such as EASE": {"ease", "item_knn", "als", "mult_vae"},
        "the most popular items": {"popular"},
    }
    return [role for role, any_of in roles.items() if not keys & any_of]


def comparison_set(entry: Any, group: Group | None) -> None:
    """The card. group: results the missing ones are to stand beside; None: a split by new users of its own is made."""
    lacks = missing_roles(run.model_key for run in group.runs) if group else []
    folded = group is not None and not lacks
    title = "Train more to compare"
    with st.expander(title, icon=":material/library_add:") if folded else st.container(border=True, key="shots-set"):
        if not folded:
            st.subheader("A comparison in one click", anchor=False)
        if lacks:
            st.markdown(f":material/info: Among the results on new users there is not yet {md(listing(lacks))}.")
        elif group is None:
            st.markdown(
                "How far a few clicks go is measured on people the recommenders have never met. It takes results with the split "
                "**New users**; there are none of this dataset yet."
            )
        known = meta_keys()
        labels = {key: registry.get("model", key).label for key in known}
        chosen = st.pills(
            "Models that learn from a few clicks", known, selection_mode="multi", default=known[:CHOSEN_AT_FIRST],
            format_func=lambda key: labels.get(key, key), key=f"shots-metas-{entry.id}", persist_state="session",
        ) if known else []  # fmt: skip
        plan = plan_of(entry, group, chosen)
        _offer(entry, group, plan)
    _under_way(entry, plan)


def plan_of(entry: Any, group: Group | None, metas: Sequence[str]) -> Plan:
    """metas: keys of meta models; the yardsticks come with them."""
    by_key = {offer.key: offer for offer in offers(entry.id, 1, entry.stats)}
    there = {run.model_key: run for run in (group.runs if group else ())}
    keys, specs, left_out = [], [], []
    for key in (*metas, *YARDSTICKS):
        if key not in by_key:
            continue
        offer = by_key[key]
        why = offer.why_not or _tells_nothing(entry, key)
        if why and key not in there:
            left_out.append(f"{offer.label}: {why}")
            continue
        keys.append(key)
        if key in there:
            continue
        try:
            specs.append(_spec(entry, group, key))
        except WorkbenchError as error:
            left_out.append(f"{offer.label}: {error}")
    order = order_of(specs)
    costs = [by_key[spec.model] for spec in order.new]
    seconds, memory = sum(offer.seconds for offer in costs), max((offer.memory_bytes for offer in costs), default=0)
    return Plan(tuple(keys), {key: there[key] for key in keys if key in there}, order, tuple(left_out), seconds, memory)


def _tells_nothing(entry: Any, key: str) -> str:
    """content_knn with a table of ids alone would rank by chance."""
    if key == "content_knn" and entry.stats.has_item_table and not says_of_items(entry):
        return "no column says anything of the items."
    return ""


def _spec(entry: Any, group: Group | None, key: str) -> TrainSpec:
    """With balanced settings; of the group's split, seed and list lengths where there is one."""
    model = registry.get("model", key)
    values = params_module.preset(model.Params, "balanced")
    params = {f.name: values[f.name] for f in params_module.fields(model.Params) if values[f.name] != f.default}
    like = group.runs[-1].spec if group else {}
    spec = TrainSpec.make(
        dataset=entry.id,
        split=SPLIT,
        split_params=like.get("split_params") or {},
        ks=like.get("ks") or KS,
        seed=like.get("seed", SEED),
        model=key,
        params=params,
    )
    return spec.with_features(state.workspace())


def _offer(entry: Any, group: Group | None, plan: Plan) -> None:
    """What a click does, before it is done: how many, which, how long."""
    n_new, n_there = len(plan.order.new), len(plan.there) + len(plan.order.done)
    st.caption(_sentence(plan, n_there))
    for sentence in plan.left_out:
        st.caption(f":material/block: Left out: {md(sentence)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Train {count(n_new, 'recommender')}" if n_new else "Nothing is missing", key="shots-train", icon=":material/play_arrow:",
            type="primary" if n_new else "secondary", disabled=not n_new, on_click=_submit,
            args=([spec.model_dump(mode="json") for spec in plan.order.new],),
        )  # fmt: skip
        if n_new:
            time = f"Takes {time_text(plan.seconds)} and, one at a time, at most {size(plan.memory_bytes)} of memory."
            st.caption(f":material/schedule: {md(time)}", width="content")
        navigation.link("train", "Choose settings yourself", dataset=entry.id)
    if group is None:
        st.caption(f":material/fact_check: {md(registry.get('splitter', SPLIT)().describe())}")


def _sentence(plan: Plan, n_there: int) -> str:
    labels = [registry.get("model", key).label for key in plan.keys]
    busy = f"; {count(len(plan.order.under_way), 'is', 'are')} under way" if plan.order.under_way else ""
    there = f" {count(n_there, 'is', 'are')} trained already{busy}." if n_there or busy else ""
    return f"The set: {md(listing(labels, 12))}.{there}"


@action
def _submit(payloads: list[dict[str, Any]]) -> None:
    jobs = state.queue().submit_many([TrainSpec.make(**payload) for payload in payloads])
    notify(f"{count(len(jobs), 'job')} queued. This page follows them.", "info")


def _under_way(entry: Any, plan: Plan) -> None:
    """Trainings on a split by new users that live or failed."""
    mine = [job for job in jobs_of(dataset=entry.id, kinds=("train",)) if job.spec.payload.get("split") == SPLIT and job.state != "done"]
    if mine:
        st.markdown("**Training for the comparison**")
        job_list("shots-train-jobs", ids={job.id for job in mine}, keep=3)
