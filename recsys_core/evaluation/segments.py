"""Results by kind of user and kind of item: whom does a model serve well, and with what."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.holdout import Holdout
from ..data.topk import TopK
from ..errors import Unsupported
from ..metrics._bootstrap import NORMAL_FROM, bootstrap_means, mean_intervals
from ..metrics._lists import _aligned, hit_matrix, without_repeats
from .groups import FEW, Grouping


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
