"""What is compared: the protocol, the results, the measure, the list length, the baseline; all kept in the URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core.evaluation import metric_label

from . import state
from .compare_data import Group, metric_class, metrics_of, ranked
from .components import runs_picker
from .text import count, md

AT_FIRST = 20  # results chosen when nothing is said; more make the charts unreadable


@dataclass(frozen=True)
class Choice:
    """runs: the chosen ones, best first. name: the measure, "ndcg@10"."""

    group: Group
    runs: list[Any]
    name: str
    baseline: Any


def choice_card(groups: Mapping[str, Group]) -> Choice | None:
    """The card at the top of the page; None when nothing is chosen."""
    with st.container(border=True, key="chosen"):
        group = _group(groups)
        chosen = runs_picker(
            group.runs[::-1], key=f"compare-{group.split_id}", label="Results", default=AT_FIRST, help="Which are compared."
        )
        st.session_state["_compared"] = list(chosen)
        by_id = {run.id: run for run in group.runs}
        runs = [by_id[run_id] for run_id in chosen]
        hidden = len(group.runs) - len(runs)
        if hidden:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"{count(hidden, 'more result')} of this protocol not shown.", width="content")
                st.button("Show all", key="show-all", type="tertiary", on_click=_show_all, args=(group,))
        if not runs:
            st.info("Choose at least one result.", icon=":material/info:")
            return None
        name, baseline = _measure(runs)
        return Choice(group, ranked(runs, name), name, by_id[baseline])


def _show_all(group: Group) -> None:
    state.remember(runs=group.ids[::-1])


def _group(groups: Mapping[str, Group]) -> Group:
    """The protocol: that of the linked results, else the newest; a choice only where there are several."""
    if len(groups) == 1:
        return next(iter(groups.values()))
    linked = state.current_list("runs")
    of_link = next((group.split_id for group in groups.values() if set(linked) & set(group.ids)), next(iter(groups)))
    key = "compare-protocol"
    if st.session_state.get(key) not in groups or (linked and linked != st.session_state.get("_compared")):
        st.session_state[key] = of_link
    split_id = st.selectbox(
        "Protocol",
        list(groups),
        format_func=lambda i: groups[i].label if i in groups else str(i),
        key=key,
        help="Only results with the same data, split and seed can be compared: they were judged on the same users and items.",
    )
    return groups[split_id]


def _measure(runs: list[Any]) -> tuple[str, str]:
    """(measure, id of the baseline)."""
    measures = metrics_of(runs)
    with st.grid(3, min_column_width=230, gap="medium"):
        state.follow_url("metric", "compare-metric", list(measures), next(iter(measures)))
        key = st.selectbox(
            "Measure", list(measures), format_func=metric_label, key="compare-metric", help="What 'best' means in the table."
        )
        ks = [str(k) for k in measures[key]]
        k = None
        if ks:
            state.follow_url("k", "compare-k", ks, "10" if "10" in ks else ks[-1])
            k = st.segmented_control("List length k", ks, key="compare-k", required=True, help="How many recommendations are judged.")
        name = f"{key}@{k}" if k else key
        order = ranked(runs, name)
        names = {run.id: run.name for run in order}
        plain = next((run.id for run in order if run.model_key == "popular"), order[-1].id)
        state.follow_url("baseline", "compare-baseline", list(names), plain)
        about = "What the others are held against."
        baseline = st.selectbox("Baseline", list(names), format_func=lambda i: names.get(i, i), key="compare-baseline", help=about)
    state.remember(metric=key, k=k, baseline=baseline)
    cls = metric_class(key)
    if cls is not None:
        st.caption(f"{md(cls.label)}: {md(cls.help)}")
    return name, baseline
