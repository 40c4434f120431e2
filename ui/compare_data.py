"""What the Compare page reads: groups of comparable runs, their figures, and the numbers behind its charts.

Everything heavy is kept by workspace folder and run id: a run never changes, so neither does what is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from recsys_core import registry
from recsys_core.errors import NotFound, WorkbenchError
from recsys_core.evaluation import (
    Difference,
    differences,
    exposure,
    full_curve,
    lorenz,
    overlap_matrix,
)

from . import state
from .text import count, short

KINDS = ("accuracy", "beyond", "rating")
FIRST = ("ndcg", "recall", "precision", "hit_rate", "map", "mrr")
CURVE_POINTS = 40


# ---- which runs, which figures ---------------------------------------------------------------------
@dataclass(frozen=True)
class Group:
    """Runs with the same data, split and seed, oldest first: only these may be compared."""

    split_id: str
    rule: str
    seed: int
    runs: tuple[Any, ...]

    @property
    def ids(self) -> list[str]:
        return [run.id for run in self.runs]

    @property
    def label(self) -> str:
        return f"{short(self.rule, 90)} Seed {self.seed} ({count(len(self.runs), 'result')})"

    def position(self, run_id: str) -> int:
        """A run keeps its place, and with it its colour, whatever else is chosen."""
        return self.ids.index(run_id)


def groups_of(runs: Sequence[Any]) -> list[Group]:
    """Measured runs by split, the group with the newest run first (`runs` come newest first)."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        if run.metrics or run.overall:
            found.setdefault(run.split_id, []).append(run)
    return [
        Group(split_id, _rule(members[0]), int(members[0].spec.get("seed", 0)), tuple(members[::-1])) for split_id, members in found.items()
    ]


def _rule(run: Any) -> str:
    return str((run.card().get("split") or {}).get("rule") or run.spec.get("split", "unknown split"))


def metric_class(key: str) -> Any:
    """The plug-in of "ndcg" or "ndcg@20"; None for a metric this installation does not have."""
    try:
        return registry.get("metric", key.partition("@")[0])
    except NotFound:
        return None


def metrics_of(runs: Iterable[Any]) -> dict[str, list[int]]:
    """Metric key -> list lengths any of these runs has it for ([] for ratings), the usual ones first."""
    found: dict[str, set[int]] = {}
    for run in runs:
        for name in (*run.metrics, *run.overall):
            key, _, k = name.partition("@")
            found.setdefault(key, set()).update([int(k)] if k.isdigit() else [])

    def order(key: str) -> tuple[int, int, str]:
        cls = metric_class(key)
        kind = KINDS.index(cls.kind) if cls is not None and cls.kind in KINDS else len(KINDS)
        return kind, FIRST.index(key) if key in FIRST else len(FIRST), key

    return {key: sorted(found[key]) for key in sorted(found, key=order)}


def figure_of(run: Any, name: str) -> tuple[float, float, float]:
    """(mean, low, high) of "ndcg@20"; NaN where it was not measured or has no interval."""
    nan = float("nan")
    if name in run.metrics:
        found = run.metrics[name]
        return tuple(nan if found.get(part) is None else float(found[part]) for part in ("mean", "low", "high"))
    value = run.overall.get(name)
    return (nan if value is None else float(value), nan, nan)


def higher_is_better(name: str) -> bool:
    cls = metric_class(name)
    return True if cls is None else cls.higher_is_better


def ranked(runs: Sequence[Any], name: str) -> list[Any]:
    """Best first; runs without the figure last, in their order."""
    sign = -1.0 if higher_is_better(name) else 1.0
    values = {run.id: figure_of(run, name)[0] for run in runs}
    return sorted(runs, key=lambda run: (np.isnan(values[run.id]), sign * values[run.id] if np.isfinite(values[run.id]) else 0.0))


# ---- arrays of a run, read once ----------------------------------------------------------------------
def _run(folder: str, run_id: str) -> Any:
    return state._workspace(folder).run(run_id)


@st.cache_resource(max_entries=64, show_spinner=False)
def _per_user(folder: str, run_id: str) -> pd.DataFrame:
    return _run(folder, run_id).per_user()


@st.cache_resource(max_entries=32, show_spinner=False)
def _topk(folder: str, run_id: str) -> Any:
    return _run(folder, run_id).topk()


@st.cache_resource(max_entries=4, show_spinner=False)
def _judged(folder: str, split_id: str, run_id: str) -> tuple[Any, Any]:
    """(training part, holdout) of a split, read from one of its runs; the model itself is not loaded."""
    from recsys_core.data.storage import load_dataset

    run = _run(folder, run_id)
    train = load_dataset(run.path / "model" / "data")
    holdout = run.holdout()
    if holdout.truth.n_items > train.n_items or holdout.truth.n_users > train.n_users:  # a test file of one's own brings new ids
        train = replace(train, users=holdout.truth.users, items=holdout.truth.items)
    return train, holdout


def judged(group: Group) -> tuple[Any, Any]:
    return _judged(str(state.root()), group.split_id, group.runs[0].id)


# ---- comparisons ------------------------------------------------------------------------------------
@st.cache_data(max_entries=128, show_spinner=False)
def _differences(folder: str, run_ids: tuple[str, ...], baseline: str, name: str) -> dict[str, Difference]:
    frames = {run_id: _per_user(folder, run_id) for run_id in run_ids}
    with_it = {run_id: frame for run_id, frame in frames.items() if name in frame}
    if baseline not in with_it or len(with_it) < 2:
        return {}
    return {found.name_b: found for found in differences(with_it, baseline, [name], wilcoxon=False)}


def differences_to(runs: Sequence[Any], baseline: Any, name: str) -> dict[str, Difference]:
    """Run id -> its paired difference to the baseline, with today's names; {} for figures without a value a user."""
    names = {run.id: run.name for run in runs}
    try:
        found = _differences(str(state.root()), tuple(sorted(names)), baseline.id, name)
    except WorkbenchError:
        return {}
    return {i: replace(d, name_a=names[baseline.id], name_b=names[i]) for i, d in found.items() if i in names}


@st.cache_data(max_entries=256, show_spinner=False)
def _curve(folder: str, run_id: str, split_id: str, judge: str, key: str, longest: int) -> pd.DataFrame:
    from recsys_core.metrics import Catalog, evaluate

    train, holdout = _judged(folder, split_id, judge)
    top = _topk(folder, run_id).cut(longest)
    if longest <= CURVE_POINTS:
        return full_curve(top, holdout, Catalog.from_dataset(train), key)
    ks = np.unique(np.linspace(1, longest, CURVE_POINTS).round().astype(int))
    means = evaluate(top, holdout, Catalog.from_dataset(train), ks.tolist(), metrics=[key]).means()
    return pd.DataFrame({"k": ks, "value": [means[f"{key}@{k}"] for k in ks]})


def curve_of(group: Group, run: Any, key: str) -> pd.DataFrame:
    """Metric by list length (k, value). Every length for accuracy of a single split, else the stored ones; none of an RMSE."""
    cls = metric_class(key)
    stored = sorted(int(k) for name in (*run.metrics, *run.overall) for n, _, k in [name.partition("@")] if n == key and k)
    if not stored or cls is None or cls.kind != "accuracy" or run.folds:
        return pd.DataFrame({"k": stored, "value": [figure_of(run, f"{key}@{k}")[0] for k in stored]})
    return _curve(str(state.root()), run.id, group.split_id, group.runs[0].id, key, stored[-1])


@st.cache_data(max_entries=256, show_spinner=False)
def _lorenz(folder: str, run_id: str, n_items: int, k: int) -> tuple[pd.DataFrame, float]:
    shown, among = exposure(_topk(folder, run_id), n_items, k), _run(folder, run_id).holdout().candidates
    return lorenz(shown if among is None else shown[among])


def exposure_curve(group: Group, run: Any, k: int) -> tuple[pd.DataFrame, float]:
    """(Lorenz curve of how often the items are shown that lists are made of, its Gini)."""
    return _lorenz(str(state.root()), run.id, judged(group)[0].n_items, k)


@st.cache_data(max_entries=32, show_spinner=False)
def _overlap(folder: str, run_ids: tuple[str, ...], k: int) -> np.ndarray:
    return overlap_matrix({run_id: _topk(folder, run_id) for run_id in run_ids}, k).to_numpy()


def overlap(runs: Sequence[Any], k: int) -> np.ndarray:
    """(R, R) mean Jaccard overlap of the first k items, in the order of `runs`."""
    ids = sorted(run.id for run in runs)
    at = [ids.index(run.id) for run in runs]
    return _overlap(str(state.root()), tuple(ids), k)[np.ix_(at, at)]
