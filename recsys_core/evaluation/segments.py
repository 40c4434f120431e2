"""Results by kind of user and kind of item: whom does a model serve well, and with what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.holdout import Holdout
from ..data.topk import TopK
from ..errors import Unsupported
from ..metrics._bootstrap import NORMAL_FROM, bootstrap_means, mean_intervals
from ..metrics._catalog import HEAD_SHARE, head_size
from ..metrics._lists import _aligned, hit_matrix, without_repeats
from .groups import FEW, Grouping

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


def member_values(values: pd.Series, grouping: Grouping) -> np.ndarray:
    """float (B, G): a user's value in the columns of the groups the user is in, NaN elsewhere. Index of values: user codes."""
    member = grouping.member[values.index.to_numpy()].toarray()
    return np.where(member, values.to_numpy(np.float64)[:, None], np.nan)


def by_group(per_user: pd.DataFrame, grouping: Grouping, metric: str, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Rows group, n_users, mean, low, high, enough: a metric for each group of users.

    enough: at least `FEW` users; without them there is no interval. All groups share one set of resamples of the users.
    """
    if metric not in per_user:
        raise Unsupported(f"The run has no per-user values of {metric}.", "Choose another metric.")
    values = member_values(per_user[metric].dropna(), grouping)
    n = np.isfinite(values).sum(axis=0)
    means = np.divide(np.nansum(values, axis=0), n, out=np.full(len(n), np.nan), where=n > 0)
    low, high = mean_intervals(values, level=level, seed=seed)
    enough = n >= FEW
    return pd.DataFrame(
        {
            "group": list(grouping.names),
            "n_users": n,
            "mean": means,
            "low": np.where(enough, low, np.nan),
            "high": np.where(enough, high, np.nan),
            "enough": enough,
        }
    )


def by_item_group(top: TopK, holdout: Holdout, grouping: Grouping, k: int, *, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Rows group, n_items, n_relevant, n_hits, recall, low, high, share_of_places, enough: what of each group is found.

    recall is over all held-out interactions with items of the group (found / held out), with a bootstrap over users;
    share_of_places: of the first k of all lists. An item of several groups counts in each. enough: at least `FEW`
    held-out interactions.
    """
    relevant = holdout.relevant
    items = without_repeats(_aligned(top, holdout.users)[:, :k])
    member = _padded(grouping.member, relevant.shape[1]).astype(np.float64)
    row, column = np.nonzero(hit_matrix(items, relevant))
    hits = sparse.csr_matrix((np.ones(len(row)), (row, items[row, column])), shape=relevant.shape)
    found, wanted = (hits @ member).toarray(), (relevant @ member).toarray()
    n_found, n_wanted = found.sum(axis=0), wanted.sum(axis=0)
    low, high = ratio_intervals(found, wanted, level=level, seed=seed)
    enough = n_wanted >= FEW
    shown = items[items >= 0]
    places = np.asarray(member.T @ np.bincount(shown, minlength=member.shape[0])).ravel()
    return pd.DataFrame(
        {
            "group": list(grouping.names),
            "n_items": grouping.sizes,
            "n_relevant": n_wanted.astype(np.int64),
            "n_hits": n_found.astype(np.int64),
            "recall": np.divide(n_found, n_wanted, out=np.full(len(grouping), np.nan), where=n_wanted > 0),
            "low": np.where(enough, low, np.nan),
            "high": np.where(enough, high, np.nan),
            "share_of_places": places / max(1, len(shown)),
            "enough": enough,
        }
    )


def _padded(member: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """Rows for codes that a test file brings in: in no group."""
    more = n - member.shape[0]
    return member if more <= 0 else sparse.vstack([member, sparse.csr_matrix((more, member.shape[1]), dtype=member.dtype)], format="csr")


def ratio_intervals(
    top: np.ndarray, bottom: np.ndarray, *, level: float = 0.95, n: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of sum(top) / sum(bottom) a column, (B, M) each: percentile bootstrap over the rows.

    Above `NORMAL_FROM` rows its normal limit by the delta method. NaN where bottom sums to 0.
    """
    tail = (1 - level) / 2
    total = bottom.sum(axis=0)
    known = total > 0
    ratio = np.divide(top.sum(axis=0), total, out=np.full(top.shape[1], np.nan), where=known)
    if len(top) > NORMAL_FROM:
        from scipy.special import ndtri

        error = ndtri(1 - tail) * np.sqrt(((top - np.nan_to_num(ratio) * bottom) ** 2).sum(axis=0)) / np.where(known, total, np.nan)
        return ratio - error, ratio + error
    means = bootstrap_means(np.hstack([top, bottom]), n, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = means[:, : top.shape[1]] / means[:, top.shape[1] :]
    out = np.full((2, top.shape[1]), np.nan)
    if known.any():
        out[:, known] = np.nanquantile(drawn[:, known], [tail, 1 - tail], axis=0)
    return out[0], out[1]
