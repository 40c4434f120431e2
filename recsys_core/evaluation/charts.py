"""Numbers behind the charts of a comparison: curves, Pareto front, Lorenz curve, overlap. No drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..data.holdout import Holdout
from ..data.topk import TopK
from ..errors import Unsupported
from ..metrics import Catalog, evaluate
from ..metrics._lists import without_repeats
from ..metrics.gini import gini


def full_curve(top: TopK, holdout: Holdout, catalog: Catalog, metric: str) -> pd.DataFrame:
    """One metric at every k from 1 to the length of the lists: rows k, value."""
    ks = range(1, top.k + 1)
    figures = evaluate(top, holdout, catalog, ks, metrics=[metric]).means()
    return pd.DataFrame({"k": list(ks), "value": [figures[f"{metric}@{k}"] for k in ks]})


def pareto_front(points: np.ndarray, higher_is_better: Sequence[bool]) -> np.ndarray:
    """bool (n,): points (n, d) that no other point beats in one measure without losing in another.

    Equal points are all on the front; a point with a NaN never is. Cost: n² · d.
    """
    points = np.asarray(points, dtype=np.float64)
    signed = np.where(np.asarray(higher_is_better), points, -points)
    known = np.isfinite(signed).all(axis=1)
    no_worse = (signed[:, None, :] >= signed[None, :, :]).all(axis=2)
    better = (signed[:, None, :] > signed[None, :, :]).any(axis=2)
    return known & ~(no_worse & better & known[:, None]).any(axis=0)


def exposure(top: TopK, n_items: int, k: int | None = None) -> np.ndarray:
    """int64 (I,): in how many lists, cut at k, each item is."""
    items = top.items if k is None else top.items[:, :k]
    return np.bincount(items[items >= 0], minlength=n_items)


def lorenz(counts: np.ndarray, points: int = 200) -> tuple[pd.DataFrame, float]:
    """(curve, Gini): rows items_share, exposure_share from (0, 0) to (1, 1), least shown items first.

    At most `points` + 1 rows; the curve is read off at evenly spaced shares of the items.
    """
    ordered = np.sort(np.asarray(counts, dtype=np.float64))
    if len(ordered) == 0 or ordered.sum() == 0:
        raise Unsupported("There is no exposure to draw: no item is in any list.", "Choose a run with recommendations.")
    running = np.concatenate([[0.0], np.cumsum(ordered)]) / ordered.sum()
    share = np.linspace(0, 1, min(points, len(ordered)) + 1)
    curve = pd.DataFrame({"items_share": share, "exposure_share": np.interp(share, np.linspace(0, 1, len(running)), running)})
    return curve, gini(ordered)


def overlap_matrix(tops: Mapping[str, TopK], k: int) -> pd.DataFrame:
    """Mean Jaccard overlap of two models' first k items over the users both have lists for; 1 on the diagonal.

    NaN for a pair without a common user. Cost: one sort of users × 2k a pair of models.
    """
    names = list(tops)
    out = np.eye(len(names))
    cut = {name: (top.users, without_repeats(top.items[:, :k])) for name, top in tops.items()}
    for i, a in enumerate(names):
        for j in range(i):
            out[i, j] = out[j, i] = mean_jaccard(*cut[a], *cut[names[j]])
    return pd.DataFrame(out, index=names, columns=names)


def mean_jaccard(users_a: np.ndarray, items_a: np.ndarray, users_b: np.ndarray, items_b: np.ndarray) -> float:
    """Mean over common users of |A ∩ B| / |A ∪ B|; two empty lists are left out."""
    _, at_a, at_b = np.intersect1d(users_a, users_b, return_indices=True)
    a, b = items_a[at_a], items_b[at_b]
    both = np.sort(np.concatenate([a, b], axis=1), axis=1)
    shared = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
    union = (a >= 0).sum(axis=1) + (b >= 0).sum(axis=1) - shared
    return float((shared[union > 0] / union[union > 0]).mean()) if (union > 0).any() else float("nan")
