"""What a search is for and how long it may take: metric, list length, a second aim, budget, and how settings are chosen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import streamlit as st

from recsys_core import registry
from recsys_core.evaluation import metric_label

from .text import md
from .train_protocol import Protocol

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


def goal_form(model: Any, stats: Any, protocol: Protocol | None) -> Goal:
    """The widgets: metric, list length, a second aim; then budget and how to search."""
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
        beyond = [*AGAINST, *[key for key, cls in metrics.items() if cls.kind == "beyond" and key not in AGAINST]]
        seconds = ["", *[key for key in beyond if key in metrics and key != first]]
        if st.session_state.get("tune-second") not in seconds:
            st.session_state["tune-second"] = ""
        second = st.selectbox(
            "Weigh against",
            seconds,
            format_func=lambda key: metric_label(key) if key else "Nothing",
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
