"""What is kept of a cold-start comparison: curves with intervals, gains, and who is clearly better. Its shape: `jobs/cold_start_spec.py`.

What is clear is decided as everywhere (`compare.py`): an interval without 0, and a paired t-test corrected by Holm's method for all the
numbers of items at which two are compared, which is what one sentence tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..context import QUIET, RunContext
from ..data.holdout import Holdout
from ..metrics._bootstrap import mean_intervals
from ..models._base import Recommender
from . import cold_start_words as words
from .cold_start import METRICS, SHOTS, Measured, Tasks, adapts, make_tasks, measure, timed_shots
from .cold_start_rating import CUT, N_QUERY, NAME
from .compare import Difference, corrected, differences

ROLES = {"popular": "popular", "random": "popular", "content_knn": "content", "fine_tuned": "fine_tuned"}  # model key -> role


@dataclass(frozen=True)
class One:
    """A model that was measured. run: its id; name: how it is called in sentences."""

    run: str
    name: str
    key: str
    label: str
    family: str
    adapts: bool
    measured: Measured

    @property
    def role(self) -> str:
        return ROLES.get(self.key, "meta" if self.adapts else "fold_in")

    @classmethod
    def of(cls, run: str, name: str, model: Recommender, measured: Measured) -> One:
        return cls(run, name, model.key, model.label, model.family, adapts(model), measured)


def curves(
    models: Mapping[str, Recommender],
    holdout: Holdout,
    shots: Sequence[int] = SHOTS,
    *,
    k: int = 10,
    order: Literal["random", "earliest"] = "random",
    draws: int = 1,
    seed: int = 42,
    most_users: int = 0,
    timed: bool = True,
    ctx: RunContext = QUIET,
) -> dict[str, Any]:
    """The whole comparison of fitted models on a holdout of new users, as the job keeps it; "run" is the name. For benchmarks."""
    tasks = make_tasks(holdout, shots, order=order, draws=draws, seed=seed, most_users=most_users)
    found = []
    for number, (name, model) in enumerate(models.items()):
        part = ctx.part(name, number / len(models), (number + 1) / len(models))
        found.append(One.of(name, name, model, measure(model, tasks, k, part, timed=timed)))
    return result_of(tasks, found, k, order=order, seed=seed)


def result_of(
    tasks: Tasks,
    found: Sequence[One],
    k: int,
    *,
    order: str,
    seed: int,
    missing: Sequence[dict[str, str]] = (),
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """See the module. about: further facts at the top (dataset, split_id)."""
    found = sorted(found, key=lambda one: -one.measured.mean(tasks.shots))
    result: dict[str, Any] = {
        "k": k,
        "shots": list(tasks.shots),
        "order": order,
        "draws": tasks.draws,
        "seed": seed,
        **(about or {}),
        "n_users": len(tasks.users),
        "left_out": tasks.left_out,
        "sampled_from": tasks.sampled_from,
        "ms_shots": timed_shots(tasks.shots),
        "models": [_told(one, tasks.shots, k) for one in found],
        "comparisons": comparisons(found, tasks.shots, k),
        "missing": list(missing),
        "rating": _rating(tasks, found),
    }
    result["protocol"] = words.protocol(result)
    result["notes"] = words.notes(result)
    result["verdicts"] = words.verdicts(result)
    for model in result["models"]:
        model["pays"] = words.pays(result, model["run"])
    return result


def per_user(tasks: Tasks, found: Sequence[One]) -> pd.DataFrame:
    """run, adapted, shots, user and METRICS: one row for every model, number of shots and user."""
    frames = []
    for one in found:
        for adapted, values in ((True, one.measured.figures), (False, one.measured.unadapted)):
            if values is None:
                continue
            n_shots, _, n_users = values.shape
            frame = pd.DataFrame(dict(zip(METRICS, values.transpose(1, 0, 2).reshape(len(METRICS), -1), strict=True)))
            frame.insert(0, "user", np.tile(tasks.users, n_shots))
            frame.insert(0, "shots", np.repeat(tasks.shots, n_users).astype(np.int16))
            frame.insert(0, "adapted", adapted)
            frame.insert(0, "run", one.run)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _told(one: One, shots: Sequence[int], k: int) -> dict[str, Any]:
    figures = one.measured
    ndcg, recall, hit_rate = (_points(shots, figures.figures[:, number]) for number in range(len(METRICS)))
    return {
        "run": one.run,
        "name": one.name,
        "model": one.key,
        "label": one.label,
        "family": one.family,
        "role": one.role,
        "adapts": one.adapts,
        "curve": ndcg,
        "recall": recall,
        "hit_rate": hit_rate,
        "unadapted": None if figures.unadapted is None else _points(shots, figures.unadapted[:, 0]),
        "gain": None if figures.unadapted is None else _gain(one, shots, k),
        "ms_per_user": None if np.isnan(figures.ms) else figures.ms,
    }


def _points(shots: Sequence[int], values: np.ndarray) -> list[dict[str, Any]]:
    """Means of values (S, B) over users, with their intervals."""
    low, high = mean_intervals(values.T.astype(np.float64))
    return [
        {"shots": int(s), "mean": float(row.mean(dtype=np.float64)), "low": float(a), "high": float(b)}
        for s, row, a, b in zip(shots, values, low, high, strict=True)
    ]


def _gain(one: One, shots: Sequence[int], k: int) -> list[dict[str, Any]]:
    """Adapted minus unadapted. Before the first item there is nothing to adapt to: no comparison, so none to correct for."""
    frames = {"before": _frame(one.measured.unadapted, shots, k), "after": _frame(one.measured.figures, shots, k)}
    found = dict(zip(shots, differences(frames, "before", list(frames["after"].columns), wilcoxon=False), strict=True))
    judged = [s for s in shots if s > 0]
    found |= dict(zip(judged, corrected([found[s] for s in judged]), strict=True))
    return [{"shots": int(s), **_difference(found[s])} for s in shots]


def comparisons(found: Sequence[One], shots: Sequence[int], k: int) -> list[dict[str, Any]]:
    """Every model that adapts against the best of every other role; where none adapts the best fold-in alone. found: best first."""
    judged = [one for one in found if one.role == "meta"] or [one for one in found if one.role == "fine_tuned"]
    judged = judged or [one for one in found if one.role == "fold_in"][:1] or [one for one in found if one.role == "content"][:1]
    frames = {one.run: _frame(one.measured.figures, shots, k) for one in found}
    out = []
    for one in judged:
        for role in ("fold_in", "fine_tuned", "content", "popular"):
            others = [other for other in found if other.role == role and other.role != one.role]
            if others:
                out += _against(one, role, others, frames, shots, k)
    return out


def _against(
    one: One, role: str, others: Sequence[One], frames: Mapping[str, pd.DataFrame], shots: Sequence[int], k: int
) -> list[dict[str, Any]]:
    """One model against the best of one role, at every number of shots: what one sentence tells, and is corrected for together."""
    means = np.stack([other.measured.figures[:, 0].mean(axis=1) for other in others])
    best = {s: others[int(at)].run for s, at in zip(shots, means.argmax(axis=0), strict=True)}
    known: dict[int, Difference] = {}
    for against in set(best.values()):
        mine = [s for s in shots if best[s] == against]
        both = {against: frames[against], one.run: frames[one.run]}
        gaps = differences(both, against, [f"ndcg@{k} after {s}" for s in mine], wilcoxon=False)
        known |= dict(zip(mine, gaps, strict=True))
    together = corrected([known[s] for s in shots])
    return [
        {"run": one.run, "against": best[s], "role": role, "shots": int(s), **_difference(gap)}
        for s, gap in zip(shots, together, strict=True)
    ]


def _frame(values: np.ndarray, shots: Sequence[int], k: int) -> pd.DataFrame:
    return pd.DataFrame({f"ndcg@{k} after {s}": row for s, row in zip(shots, values[:, 0].astype(np.float64), strict=True)})


def _difference(gap: Difference) -> dict[str, Any]:
    return {
        "mean": gap.difference,
        "low": gap.low,
        "high": gap.high,
        "relative": gap.relative if np.isfinite(gap.relative) else None,
        "p_holm": gap.p_holm if np.isfinite(gap.p_holm) else None,
        "clear": gap.clear,
        "better": gap.difference > 0 if gap.clear else None,
    }


def _rating(tasks: Tasks, found: Sequence[One]) -> dict[str, Any] | None:
    own = tasks.own
    if own is None:
        return None
    precision, ndcg = own.chance()
    models = []
    for one in found:
        parts = {"precision": _points(tasks.shots, one.measured.own[:, 0]), "ndcg": _points(tasks.shots, one.measured.own[:, 1])}
        models.append({"run": one.run, "name": one.name, **parts})
    return {
        "name": NAME,
        "definition": words.rating_definition(own.scaled),
        "k": CUT,
        "n_query": N_QUERY,
        "n_users": len(own.rows),
        "left_out": own.left_out,
        "chance": {"precision": precision, "ndcg": ndcg},
        "models": models,
    }
