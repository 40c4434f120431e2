"""What a study found, as plain rows: trials, the best, the front, what mattered."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna

from ..evaluation.charts import pareto_front
from .objective import Objective

STATES = {"RUNNING": "running", "COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
ENOUGH_TRIALS = 6  # complete ones, before importance is worth telling
ABOUT, POINT, END, CURVE = "about", "point", "end", "curve"  # names of what is kept with a trial


def rows(trials: Sequence[optuna.trial.FrozenTrial]) -> list[dict[str, Any]]:
    """The trials in order, as store.findings.StudyEntry.trials() describes them. again: it was cut off and
    is tried again when the search goes on."""
    return [row(t) for t in trials if t.state.name in STATES]


def row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """One trial."""
    about, end = trial.user_attrs.get(ABOUT, {}), trial.user_attrs.get(END, {})
    started = about.get("started") or _utc(trial.datetime_start)
    seconds = end.get("seconds")
    if seconds is None and trial.datetime_complete is not None and trial.datetime_start is not None:
        seconds = (trial.datetime_complete - trial.datetime_start).total_seconds()
    curve = trial.user_attrs.get(CURVE) or [{"epoch": e, "value": v} for e, v in sorted(trial.intermediate_values.items())]
    complete = trial.state.name == "COMPLETE"
    return {
        "number": trial.number,
        "state": STATES[trial.state.name],
        "params": trial.user_attrs.get(POINT, {}).get("params", trial.params),
        "values": list(trial.values) if complete else None,
        "seconds": seconds,
        "started": started,
        "curve": curve,
        "reason": end.get("reason", ""),
        "again": bool(end.get("again")),
    }


def best(found: Sequence[dict[str, Any]], objectives: Sequence[Objective]) -> int | None:
    """Number of the complete trial with the best first objective, the earliest of equals."""
    complete = [t for t in found if t["state"] == "complete"]
    sign = 1 if objectives[0].higher_is_better else -1
    return max(complete, key=lambda t: (sign * t["values"][0], -t["number"]))["number"] if complete else None


def front(found: Sequence[dict[str, Any]], objectives: Sequence[Objective]) -> list[int]:
    """Numbers of the trials nothing beats in all objectives; with one objective the best alone."""
    if len(objectives) == 1:
        number = best(found, objectives)
        return [] if number is None else [number]
    complete = [t for t in found if t["state"] == "complete"]
    if not complete:
        return []
    kept = pareto_front(np.array([t["values"] for t in complete]), [o.higher_is_better for o in objectives])
    return [t["number"] for t, on in zip(complete, kept, strict=True) if on]


def importance(study: optuna.Study, seed: int) -> dict[str, float]:
    """Share of the differences in the first objective each parameter explains, largest first, sum 1; {} before there are enough
    complete trials, or where they do not differ.

    Source: Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014 (fANOVA).
    """
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    values = [t.values[0] for t in complete]
    if len(complete) < ENOUGH_TRIALS or max(values) - min(values) <= 1e-12:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=seed), target=lambda t: t.values[0]
        )
    total = sum(found.values())
    return {name: float(share / total) for name, share in found.items()} if total > 0 else {}


def _utc(local: dt.datetime | None) -> str:
    return "" if local is None else local.astimezone(dt.UTC).isoformat(timespec="milliseconds")
