"""Results by kind of user and kind of item: whom does a model serve well, and with what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from ..errors import Unsupported
from ..metrics._bootstrap import mean_intervals
from ..metrics._catalog import HEAD_SHARE, head_size
from ..metrics._lists import hit_matrix, without_repeats

ACTIVITY = ("light", "medium", "heavy")
POPULARITY = ("head", "mid", "tail")
HEAD_TO = 0.5  # head: the most popular items with half of all training interactions; tail: those outside 80 %


def user_segments(history_sizes: np.ndarray, users: np.ndarray) -> pd.Series:
    """Ordered category per user: "light (1–20 items)", "medium (…)", "heavy (…)": thirds by training history.

    history_sizes: (U,) items each user has in training (0 for a cold user without history). users: (B,)
    codes. Users of the same size are always in the same segment, so fewer than three can come out.
    """
    sizes = np.asarray(history_sizes)[users]
    if len(sizes) == 0:
        return pd.Series(pd.Categorical([]), index=pd.Index(users, name="user"), name="segment")
    edges = np.quantile(sizes, [1 / 3, 2 / 3], method="inverted_cdf")
    group = (sizes > edges[0]).astype(np.int64) + (sizes > edges[1])
    labels = {g: _sized(ACTIVITY[g], sizes[group == g]) for g in np.unique(group)}
    values = pd.Categorical([labels[g] for g in group], categories=list(labels.values()), ordered=True)
    return pd.Series(values, index=pd.Index(users, name="user"), name="segment")


def _sized(name: str, sizes: np.ndarray) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return f"{name} ({low:,} items)" if low == high else f"{name} ({low:,}–{high:,} items)"


def by_segment(per_user: pd.DataFrame, segment: pd.Series, metrics: Sequence[str], *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Rows segment, metric, n_users, mean, low, high. segment: label per user code (any user column will do)."""
    missing = [name for name in metrics if name not in per_user]
    if missing:
        raise Unsupported(f"The run has no per-user values of {', '.join(missing)}.", "Choose another metric.")
    labels = segment.reindex(per_user.index)
    rows = []
    for label, part in per_user[list(metrics)].groupby(labels, observed=True, sort=True):
        low, high = mean_intervals(part.to_numpy(np.float64), level=level, seed=seed)
        means = part.mean().to_numpy()
        rows += [(label, name, len(part), float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(metrics)]
    return pd.DataFrame(rows, columns=["segment", "metric", "n_users", "mean", "low", "high"])


def item_segments(popularity: np.ndarray) -> np.ndarray:
    """int8 (I,): 0 head, 1 mid, 2 tail. popularity: training users per item; ties by item code."""
    order = np.argsort(-np.asarray(popularity), kind="stable")
    out = np.full(len(popularity), 2, dtype=np.int8)
    out[order[: head_size(popularity, HEAD_SHARE)]] = 1
    out[order[: head_size(popularity, HEAD_TO)]] = 0
    return out


def by_popularity(items: np.ndarray, relevant: sparse.csr_matrix, popularity: np.ndarray, k: int) -> pd.DataFrame:
    """Rows head, mid, tail: n_items, n_relevant, n_hits, recall (hits / relevant), share_of_places.

    items: (B, >= k) lists; relevant: csr (B, I), same rows. recall is over all interactions of the segment
    (NaN where none is held out), not a mean over users.
    """
    group = item_segments(popularity)
    cut = without_repeats(items[:, :k])
    hits = cut[hit_matrix(cut, relevant)]
    shown = cut[cut >= 0]
    n_relevant = np.bincount(group[relevant.indices], minlength=3)
    n_hits = np.bincount(group[hits], minlength=3)
    recall = np.divide(n_hits, n_relevant, out=np.full(3, np.nan), where=n_relevant > 0)
    return pd.DataFrame(
        {
            "segment": list(POPULARITY),
            "n_items": np.bincount(group, minlength=3),
            "n_relevant": n_relevant,
            "n_hits": n_hits,
            "recall": recall,
            "share_of_places": np.bincount(group[shown], minlength=3) / max(1, len(shown)),
        }
    )
