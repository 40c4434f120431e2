"""Fairness across a chosen column: are all groups of users served equally well, are all groups of items shown as they deserve.

Quality: the mean of a metric in each group, the gap between the best and the worst served.
Exposure: how much of the attention each group of items gets, a place counting 1 / log2(1 + place), against its share of
the catalogue (the same for every item: demographic parity) and of the training interactions (in proportion to what people
chose: disparate treatment).
Source: Singh and Joachims, Fairness of exposure in rankings, 2018, https://doi.org/10.1145/3219819.3220088, sections 3.1 and
4.1 to 4.2. Differs: their ratio is for two groups; here it is the largest of all groups over the smallest, and merit is
the number of training interactions; total variation distance is added because one small group can make a ratio huge.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.topk import TopK
from ..errors import Unsupported
from ..metrics._bootstrap import NORMAL_FROM, bootstrap_means
from ..metrics._lists import discounts, without_repeats
from .compare import higher_is_better, holm_p_values, metric_label
from .groups import Grouping
from .segments import _padded, by_group, member_values, ratio_intervals


@dataclass(frozen=True)
class QualityFairness:
    """table: rows group, n_users, mean, low, high, enough. gap: mean of the best served group minus that of the worst
    (turned round where lower is better), among groups large enough; low, high: its bootstrap interval for these two
    groups; p_holm: of Welch's t-test between them, corrected for all pairs, because the two were chosen for being furthest
    apart. best, worst: None with fewer than two groups to compare. relative: gap / mean over users.
    """

    metric: str
    table: pd.DataFrame
    gap: float
    low: float
    high: float
    p_holm: float
    relative: float
    best: str | None
    worst: str | None
    said: tuple[str, str]
    level: float

    @property
    def clear(self) -> bool:
        """As between two runs: the interval does not hold 0 and the corrected p-value is below 1 - level."""
        return (self.low > 0 or self.high < 0) and self.p_holm < 1 - self.level

    def sentence(self, name: str = "It") -> str:
        """In plain words; name: of the run."""
        label = metric_label(self.metric)
        if self.best is None:
            return f"There are not two groups with enough users to compare in {label}."
        amount = f"{self.gap:.4f} ({self.low:.4f} to {self.high:.4f})"
        share = f", {100 * self.relative:.0f} % of the mean" if np.isfinite(self.relative) else ""
        best, worst = self.said
        if not self.clear:
            why = "; not clear once corrected for all pairs of groups" if self.low > 0 or self.high < 0 else ""
            return f"{name} shows no clear gap between groups: the widest, between {best} and {worst}, is {amount} in {label}{share}{why}."
        return f"{name} serves {best} better than {worst}: a gap of {amount} in {label}{share}."


def quality_fairness(
    per_user: pd.DataFrame, grouping: Grouping, metric: str, *, level: float = 0.95, n: int = 1000, seed: int = 0
) -> QualityFairness:
    """How evenly the groups of users are served. Cost: one bootstrap of users × groups, a t-test a pair of groups."""
    if grouping.side != "user":
        raise Unsupported(f"Quality is compared between groups of users; '{grouping.label}' has groups of items.")
    table = by_group(per_user, grouping, metric, level=level, seed=seed)
    large = np.flatnonzero(table["enough"])
    means = table["mean"].to_numpy()
    if len(large) < 2:
        nan = float("nan")
        return QualityFairness(metric, table, nan, nan, nan, nan, nan, None, None, ("", ""), level)
    sign = 1.0 if higher_is_better(metric) else -1.0
    order = large[np.argsort(-sign * means[large], kind="stable")]
    best, worst = int(order[0]), int(order[-1])
    values = member_values(per_user[metric].dropna(), grouping)
    low, high = _gap_interval(values[:, best], values[:, worst], sign, level, n, seed)
    return QualityFairness(
        metric=metric,
        table=table,
        gap=float(sign * (means[best] - means[worst])),
        low=low,
        high=high,
        p_holm=_welch_holm(values, large, (best, worst)),
        relative=float(sign * (means[best] - means[worst]) / per_user[metric].mean()) if per_user[metric].mean() else float("nan"),
        best=grouping.names[best],
        worst=grouping.names[worst],
        said=(grouping.said(best), grouping.said(worst)),
        level=level,
    )


def _gap_interval(best: np.ndarray, worst: np.ndarray, sign: float, level: float, n: int, seed: int) -> tuple[float, float]:
    """Of the difference of two groups' means; users are resampled, so that one in both groups is in both or in none."""
    tail = (1 - level) / 2
    if len(best) > NORMAL_FROM:
        from scipy.special import ndtri

        error = ndtri(1 - tail) * np.sqrt(sum(np.nanvar(v, ddof=1) / np.isfinite(v).sum() for v in (best, worst)))
        middle = sign * (np.nanmean(best) - np.nanmean(worst))
        return float(middle - error), float(middle + error)
    means = bootstrap_means(np.stack([best, worst], axis=1), n, seed)
    low, high = np.nanquantile(sign * (means[:, 0] - means[:, 1]), [tail, 1 - tail])
    return float(low), float(high)


def _welch_holm(values: np.ndarray, large: np.ndarray, pair: tuple[int, int]) -> float:
    """The corrected p-value of one pair among all pairs of groups."""
    from scipy.stats import ttest_ind

    groups = {g: values[np.isfinite(values[:, g]), g] for g in large.tolist()}
    pairs = list(combinations(groups, 2))
    p_values = [
        float(ttest_ind(groups[a], groups[b], equal_var=False).pvalue) if np.ptp(np.r_[groups[a], groups[b]]) else 1.0 for a, b in pairs
    ]
    return float(holm_p_values(p_values)[pairs.index((min(pair), max(pair)))])


@dataclass(frozen=True)
class ExposureFairness:
    """table: rows group, n_items, exposure (share of it), low, high (bootstrap over users), catalogue and interactions (shares),
    to_catalogue and to_interactions (exposure over share: 1 is in proportion). An item of m groups counts 1/m in each, so
    that shares sum to 1.

    ratio_*: the largest of these over the smallest, inf where a group is never shown. distance_*: total variation distance,
    the share of exposure that would have to move to be in proportion.
    """

    k: int
    table: pd.DataFrame
    ratio_catalogue: float
    ratio_interactions: float
    distance_catalogue: float
    distance_interactions: float
    said: tuple[str, ...]

    def sentence(self, name: str = "It") -> str:
        """In plain words: what is shown more than people chose, what less."""
        table = self.table
        gap = (table["exposure"] - table["interactions"]).to_numpy()
        sure = (table["low"] > table["interactions"]) | (table["high"] < table["interactions"])
        most, least = int(gap.argmax()), int(gap.argmin())
        moved = _percent(self.distance_interactions)
        text = f"{name} would have to move {moved} of its exposure to show each group as often as people chose it"
        parts = [
            f"{self.said[i]}, {_percent(shown)} of it for {_percent(chosen)} of the interactions"
            for i in dict.fromkeys((most, least))
            for shown, chosen in [(table["exposure"][i], table["interactions"][i])]
            if sure[i]
        ]
        return f"{text}: {'; '.join(parts)}." if parts else f"{text}; no group is clearly off."


def exposure_fairness(
    top: TopK, grouping: Grouping, popularity: np.ndarray, k: int, *, level: float = 0.95, seed: int = 0
) -> ExposureFairness:
    """How the exposure in the first k of all lists is shared by the groups of items.

    popularity: (I,) training users per item; items in no group are left out of all shares. Cost: a sparse product of
    lists × groups and a bootstrap of users × groups.
    """
    if grouping.side != "item":
        raise Unsupported(f"Exposure is compared between groups of items; '{grouping.label}' has groups of users.")
    shares = _padded(grouping.shares, len(popularity))
    items = without_repeats(top.items[:, :k])
    row, column = np.nonzero((items >= 0) & (items < shares.shape[0]))
    shown = sparse.csr_matrix((discounts(items.shape[1])[column], (row, items[row, column])), shape=(len(items), shares.shape[0]))
    given = (shown @ shares).toarray()
    total = np.repeat(given.sum(axis=1, keepdims=True), len(grouping), axis=1)
    if not total.sum():
        raise Unsupported("No item of these groups is in any list, so there is no exposure to share.", "Choose another column or run.")
    exposure = given.sum(axis=0) / given.sum()
    low, high = ratio_intervals(given, total, level=level, seed=seed)
    catalogue = _share(np.ones(shares.shape[0]) @ shares)
    interactions = _share(np.asarray(popularity, dtype=np.float64) @ shares)
    to_catalogue, to_interactions = _over(exposure, catalogue), _over(exposure, interactions)
    table = pd.DataFrame(
        {
            "group": list(grouping.names),
            "n_items": grouping.sizes,
            "exposure": exposure,
            "low": low,
            "high": high,
            "catalogue": catalogue,
            "interactions": interactions,
            "to_catalogue": to_catalogue,
            "to_interactions": to_interactions,
        }
    )
    return ExposureFairness(
        k=k,
        table=table,
        ratio_catalogue=_disparity(to_catalogue),
        ratio_interactions=_disparity(to_interactions),
        distance_catalogue=float(np.abs(exposure - catalogue).sum() / 2),
        distance_interactions=float(np.abs(exposure - interactions).sum() / 2),
        said=tuple(grouping.said(g) for g in range(len(grouping))),
    )


def _share(amounts: np.ndarray) -> np.ndarray:
    amounts = np.asarray(amounts).ravel()
    return amounts / amounts.sum() if amounts.sum() else np.full(len(amounts), np.nan)


def _over(exposure: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.divide(exposure, share, out=np.full(len(share), np.nan), where=share > 0)


def _disparity(ratios: np.ndarray) -> float:
    known = ratios[np.isfinite(ratios)]
    if len(known) == 0:
        return float("nan")
    return float(known.max() / known.min()) if known.min() > 0 else float("inf")


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.2g} %"
