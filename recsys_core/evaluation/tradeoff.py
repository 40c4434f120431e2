"""What shaping lists costs and gains: one method, several strengths, figures with intervals. Numpy only: the app may call it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import registry
from ..context import QUIET, RunContext
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.topk import TopK
from ..errors import ParamError
from ..metrics import evaluate
from ..metrics._bootstrap import mean_intervals
from ..rerank._base import Reranker, Shelf

STRENGTHS = tuple(round(step * 0.05, 2) for step in range(21))
METRICS = (
    "ndcg", "recall", "precision", "hit_rate", "serendipity",
    "intra_list_diversity", "novelty", "long_tail_share", "miscalibration", "coverage", "gini", "entropy",
)  # fmt: skip


def tradeoff(
    candidates: TopK,
    holdout: Holdout,
    shelf: Shelf,
    method: str,
    params: dict[str, Any],
    strengths: Sequence[float],
    k: int,
    metrics: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    ctx: RunContext = QUIET,
) -> list[dict[str, Any]]:
    """One point a strength: {"strength", "metrics": {"ndcg@10": {"mean", "low", "high"}}, "overall": {"coverage@10": value},
    "change": {"ndcg@10": {"mean", "low", "high"}}}: the mean difference to the same user's list at strength 0, where 0 is asked for.

    candidates: lists of held-out users, all or some; figures are over these users. params: without strength. metrics: keys
    (METRICS when None). Strength 0 is the list as it was; a method without a strength is off at 0 and on at anything else.
    The intervals are bootstrap intervals over users, with the same draws at every strength, so points can be compared.
    Cost: a re-ranking and an evaluation each (users × k × depth), one bootstrap for all.
    """
    if not 1 <= k <= candidates.k:
        raise ParamError(f"The list length k must be from 1 to the number of candidates, {candidates.k}; got {k}.")
    wrong = [s for s in strengths if not 0 <= s <= 1]
    if wrong or not len(strengths):
        raise ParamError(f"Strengths must be numbers from 0 to 1; got {wrong[0] if wrong else 'none'}.")
    judged = restricted(holdout, candidates.users)
    known = candidates.take(np.flatnonzero(np.isin(candidates.users, judged.users)))
    histories = histories_of(known.users, judged, shelf)
    keys = METRICS if metrics is None else tuple(metrics)
    found = []
    for number, strength in enumerate(strengths):
        ctx.report("Re-ranking", number / len(strengths), f"strength {strength:g}")
        top = shaped(known, k, shelf, method, params, strength, histories)
        found.append(evaluate(top, judged, shelf.catalog, [k], metrics=keys))
    ctx.report("Intervals", 0.98)
    values = np.stack([one.per_user.to_numpy(np.float64) for one in found])  # (S, B, M)
    start = next((n for n, strength in enumerate(strengths) if strength == 0), None)
    both = values if start is None else np.concatenate([values, values - values[start]])
    low, high = (side.reshape(len(both), -1) for side in mean_intervals(_side_by_side(both), level=level))
    gaps = _change(values, low, high, start, list(found[0].per_user.columns))
    return [
        {
            "strength": float(strength),
            "metrics": {
                name: {"mean": _number(one.per_user[name].mean()), "low": _number(a), "high": _number(b)}
                for name, a, b in zip(one.per_user.columns, lows, highs, strict=True)
            },
            "overall": {name: _number(value) for name, value in one.overall.items()},
            "change": change,
        }
        for strength, one, lows, highs, change in zip(strengths, found, low[: len(found)], high[: len(found)], gaps, strict=True)
    ]


def _side_by_side(values: np.ndarray) -> np.ndarray:
    """(S, B, M) -> (B, S · M)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def _change(values: np.ndarray, low: np.ndarray, high: np.ndarray, start: int | None, names: list[str]) -> list[dict[str, Any]]:
    """Of every strength, name -> paired difference to the list as it was; {} where that was not asked for."""
    if start is None:
        return [{} for _ in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a metric that is defined for nobody
        mean = np.nanmean(values - values[start], axis=1)
    ends = zip(mean, low[len(values) :], high[len(values) :], strict=True)
    return [
        {name: {"mean": _number(m), "low": _number(a), "high": _number(b)} for name, m, a, b in zip(names, *row, strict=True)}
        for row in ends
    ]


def shaped(
    candidates: TopK, k: int, shelf: Shelf, method: str, params: dict[str, Any], strength: float, histories: Histories | None = None
) -> TopK:
    """The lists at one strength: the first k of the candidates at 0."""
    if strength == 0:
        return candidates.cut(k)
    shaper = reranker(method, params, strength)
    given = shelf.histories(candidates.users) if histories is None else histories
    return shaper.rerank(with_wanted(candidates, shaper.wanted(shelf), given, shelf.train.n_items), k, shelf, given)


def with_wanted(candidates: TopK, wanted: np.ndarray, histories: Histories, n_items: int) -> TopK:
    """The candidates, and behind them the items a method wants (pins) that are missing, where the user has not had them.

    They get the score of the row's last candidate: the kept lists do not say what the model makes of them.
    """
    if not len(wanted):
        return candidates
    wanted = np.unique(wanted)
    place = np.full(n_items, -1, dtype=np.int64)
    place[wanted] = np.arange(len(wanted))
    gone = np.zeros((len(candidates), len(wanted)), dtype=bool)
    there = np.nonzero(candidates.items >= 0)
    for row, items in ((histories.row, histories.items), (there[0], candidates.items[there])):
        at = place[items]
        gone[row[at >= 0], at[at >= 0]] = True
    gone[(candidates.items < 0).all(axis=1)] = True  # a user without a list keeps none
    last = np.where(candidates.items >= 0, candidates.scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    items = np.concatenate([candidates.items, np.where(gone, -1, wanted)], axis=1).astype(np.int32)
    scores = np.concatenate([candidates.scores, np.where(gone, np.nan, last)], axis=1).astype(np.float32)
    order = np.argsort(items < 0, axis=1, kind="stable")
    return TopK(candidates.users, np.take_along_axis(items, order, axis=1), np.take_along_axis(scores, order, axis=1))


def reranker(method: str, params: dict[str, Any], strength: float | None = None) -> Reranker:
    """The method with its parameters, at a strength where it has one."""
    cls: type[Reranker] = registry.get("reranker", method)
    values = dict(params)
    if strength is not None and cls.has_strength():
        values["strength"] = float(strength)
    return cls(**values)


def histories_of(users: np.ndarray, holdout: Holdout, shelf: Shelf) -> Histories:
    """What is known of the users' pasts: training histories, or the given part of users that training does not have."""
    return shelf.histories(users) if holdout.given is None else replace(shelf, train=holdout.given).histories(users)


def restricted(holdout: Holdout, users: np.ndarray) -> Holdout:
    """The holdout of some of its users only; itself when all of them are among `users`."""
    if np.isin(holdout.users, users).all():
        return holdout
    chosen = np.zeros(holdout.truth.n_users, dtype=bool)
    chosen[np.asarray(users)[np.asarray(users) >= 0]] = True
    return Holdout(holdout.truth.subset(chosen[holdout.truth.user]), holdout.given, holdout.candidates)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


__all__ = ["METRICS", "STRENGTHS", "histories_of", "reranker", "restricted", "shaped", "tradeoff", "with_wanted"]
