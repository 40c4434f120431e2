"""Bring the scores of different models to one scale, user by user. Used by fusions while they learn, and by their bundles."""

from __future__ import annotations

from typing import Literal

import numpy as np

Normalisation = Literal["z", "minmax", "rank"]


def finite(scores: np.ndarray) -> np.ndarray:
    """The scores where they are numbers. Elsewhere (-inf or NaN: a model has nothing to say of an item) what it says of the worst
    of the row, and for inf of the best; 0 where it says nothing at all. Cost: one pass where all are numbers."""
    known = np.isfinite(scores)
    if known.all():
        return scores
    some = known.any(axis=1, keepdims=True)
    lowest = np.where(some, np.where(known, scores, np.inf).min(axis=1, keepdims=True), 0)
    highest = np.where(some, np.where(known, scores, -np.inf).max(axis=1, keepdims=True), 0)
    return np.where(known, scores, np.where(scores == np.inf, highest, lowest)).astype(scores.dtype)


def normalise(scores: np.ndarray, how: Normalisation, ignore: np.ndarray | None = None) -> np.ndarray:
    """float32 (B, I): every row on one scale.

    z: mean 0 and standard deviation 1. minmax: 0 to 1. rank: 1 for the best down to 0 for the last,
    equal scores sharing their mean rank. Rows of one value become 0. ignore: bool (B, I), entries (seen items) that do
    not set the scale; their own values are then meaningless. Cost: a few passes; rank sorts every row.
    """
    values = np.asarray(scores, dtype=np.float32)
    if how == "rank":
        hidden = values if ignore is None else np.where(ignore, -np.inf, values)
        ranks = mean_ranks(hidden).astype(np.float32)
        flat = hidden.max(axis=1, keepdims=True) == hidden.min(axis=1, keepdims=True)
        return np.where(flat, 0, (ranks - 1) / max(1, values.shape[1] - 1)).astype(np.float32)
    keep = np.ones_like(values, dtype=bool) if ignore is None else ~ignore
    n = np.maximum(keep.sum(axis=1, keepdims=True), 1)
    if how == "z":
        centre = (values * keep).sum(axis=1, keepdims=True) / n
        values = values - centre
        spread = np.sqrt((values**2 * keep).sum(axis=1, keepdims=True) / n)
    else:
        low = np.where(keep, values, np.inf).min(axis=1, keepdims=True)
        high = np.where(keep, values, -np.inf).max(axis=1, keepdims=True)
        low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
        values, spread = values - low, high - low
    tiny = spread <= 1e-12 * np.maximum(1, np.abs(scores).max(axis=1, keepdims=True, initial=0))
    return np.where(tiny, 0, values / np.where(tiny, 1, spread)).astype(np.float32)


def unit_of(scores: np.ndarray, how: Literal["z", "minmax"], ignore: np.ndarray) -> float:
    """By how much the normalised score rises where a raw one of a row (1, I) rises by 1; 0 for a row of one value. See `normalise`."""
    left = np.asarray(scores, np.float64)[~ignore]
    spread = 0.0 if not len(left) else float(left.std() if how == "z" else np.ptp(left))
    return 0.0 if spread <= 1e-12 * max(1.0, float(np.abs(scores).max(initial=0))) else 1 / spread


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """float64 (B, I): ranks within each row from 1 for the smallest, equal values sharing their mean rank."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    new = np.ones(values.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.ones(values.shape, bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks
