"""What a dataset looks like: the numbers behind every chart of the data page, and warnings in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .dataset import Dataset

FEW = 5
MIN_INTERACTIONS = 1_000
MIN_USERS_WITH_TWO = 25
DOMINANT_SHARE = 0.2  # of all interactions on one item, or by one user
SPARSE_DENSITY = 1e-5
MOST_COLD_SHARE = 0.8
_DAY = 86_400
_CURVE_POINTS = 101


@dataclass(frozen=True)
class Activity:
    """Interactions per user or per item.

    bin_start (from, included), bin_end (up to, excluded), bin_count: how many have that many interactions,
    in bins of doubling width for a log-log chart. rank, interactions: the rank-frequency curve, ranks
    spaced evenly on a log scale, most active first. share_under_5: share with fewer than 5.
    """

    n: int
    mean: float
    median: float
    largest: int
    with_one: int
    with_two_or_more: int
    share_under_5: float
    bin_start: list[int]
    bin_end: list[int]
    bin_count: list[int]
    rank: list[int]
    interactions: list[int]


@dataclass(frozen=True)
class Histogram:
    """start, end, count of bins; start == end where every value is a level of its own (ratings)."""

    start: list[float]
    end: list[float]
    count: list[int]
    levels: bool


@dataclass(frozen=True)
class Timeline:
    """Interactions per bucket ("hour", "day", "week", "month" or "year"); start: ISO text of its beginning (UTC)."""

    bucket: str
    start: list[str]
    count: list[int]


@dataclass(frozen=True)
class QualityReport:
    """JSON-able. lorenz_items / lorenz_interactions: cumulative shares, least popular items first."""

    users: int
    items: int
    interactions: int
    density: float
    first_time: str | None
    last_time: str | None
    per_user: Activity
    per_item: Activity
    gini: float
    lorenz_items: list[float]
    lorenz_interactions: list[float]
    top_item_share: float
    value_name: str
    value_mean: float
    values: Histogram
    timeline: Timeline | None
    share_relevant: float
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def quality_report(data: Dataset) -> QualityReport:
    """Counts, curves and warnings of a dataset.

    Cost: a few passes over the arrays, no sort of the rows: about half a second for 10 million.
    """
    per_user = np.bincount(data.user, minlength=data.n_users)
    per_item = np.bincount(data.item, minlength=data.n_items)
    items, interactions, gini = lorenz(per_item)
    n = len(data)
    time = data.time if data.time is not None and n else None
    first, last = (int(time.min()), int(time.max())) if time is not None else (None, None)
    values = _values(data.value)
    report = QualityReport(
        users=data.n_users,
        items=data.n_items,
        interactions=n,
        density=data.stats.density,
        first_time=None if first is None else _iso(first),
        last_time=None if last is None else _iso(last),
        per_user=_activity(per_user),
        per_item=_activity(per_item),
        gini=gini,
        lorenz_items=items,
        lorenz_interactions=interactions,
        top_item_share=float(per_item.max(initial=0) / max(1, n)),
        value_name="rating" if data.feedback == "explicit" else "weight",
        value_mean=float(data.value.mean(dtype=np.float64)) if n else 0.0,
        values=values,
        timeline=None if time is None else _timeline(time, first, last),
        share_relevant=float(data.relevant.mean()) if n else 0.0,
    )
    report.warnings.extend(_warnings(report, data, float(per_user.max(initial=0) / max(1, n))))
    return report


def lorenz(counts: np.ndarray) -> tuple[list[float], list[float], float]:
    """(share of items, share of interactions, Gini) of non-negative counts, least popular first.

    The Gini coefficient is twice the area between the curve and the line of equality: 0 when all are
    equally popular, near 1 when a few have everything. Points: at most 101.
    """
    n, total = len(counts), float(counts.sum())
    if n == 0 or total == 0:
        return [0.0, 1.0], [0.0, 1.0], 0.0
    ordered = np.sort(counts)
    share = np.concatenate([[0.0], np.cumsum(ordered, dtype=np.float64) / total])
    gini = float((n + 1 - 2 * share[1:].sum()) / n)
    at = np.unique(np.linspace(0, n, min(n + 1, _CURVE_POINTS)).round().astype(np.int64))
    return (at / n).tolist(), share[at].tolist(), max(0.0, gini)


def _activity(counts: np.ndarray) -> Activity:
    largest = int(counts.max(initial=0))
    # Bins 1, 2, 3, 4, 5-7, 8-11, 12-15, 16-23, …: single counts first, then two bins for every doubling.
    edges = np.unique(np.concatenate([np.arange(1, 6), *([2**k, 3 * 2 ** (k - 1)] for k in range(3, 40) if 2**k <= 2 * largest + 8)]))
    binned = np.bincount(np.searchsorted(edges, counts, side="right"), minlength=len(edges) + 1)[1:]
    used = np.flatnonzero(binned)
    stop = used[-1] + 1 if len(used) else 0
    ends = np.append(edges[1:], edges[-1] * 2)
    ordered = np.sort(counts)[::-1]
    n = len(counts)
    rank = np.unique(np.geomspace(1, n, min(n, 200)).round().astype(np.int64)) if n else np.empty(0, np.int64)
    return Activity(
        n=n,
        mean=float(counts.mean()) if n else 0.0,
        median=float(np.median(counts)) if n else 0.0,
        largest=largest,
        with_one=int((counts == 1).sum()),
        with_two_or_more=int((counts >= 2).sum()),
        share_under_5=float((counts < FEW).mean()) if n else 0.0,
        bin_start=edges[:stop].tolist(),
        bin_end=ends[:stop].tolist(),
        bin_count=binned[:stop].tolist(),
        rank=rank.tolist(),
        interactions=ordered[rank - 1].tolist(),
    )


def _values(value: np.ndarray) -> Histogram:
    """Levels when there are few different values, else up to 40 bins (log-spaced when they span three decades)."""
    if not len(value):
        return Histogram([], [], [], True)
    step = max(1, len(value) // 50_000)
    levels = np.unique(value[::step])
    if len(levels) <= 60:
        at = np.minimum(np.searchsorted(levels, value), len(levels) - 1)
        missed = levels[at] != value
        if missed.any():  # values too rare for the sample
            levels = np.union1d(levels, value[missed])
            at = np.searchsorted(levels, value)
        if len(levels) <= 60:
            count = np.bincount(at, minlength=len(levels))
            shown = [float(f"{v:.6g}") for v in levels.tolist()]
            return Histogram(shown, shown, count.tolist(), True)
    low, high = float(value.min()), float(value.max())
    logs = low > 0 and high / low > 1000
    edges = np.geomspace(low, high, 41) if logs else np.linspace(low, high, 41)
    scaled = (np.log(value) - np.log(low)) / (np.log(high) - np.log(low)) if logs else (value.astype(np.float64) - low) / (high - low)
    count = np.bincount(np.clip((scaled * 40).astype(np.int64), 0, 39), minlength=40)
    return Histogram(edges[:-1].tolist(), edges[1:].tolist(), count.tolist(), False)


def _timeline(time: np.ndarray, first: int, last: int) -> Timeline:
    """Interactions per hour, day, week, month or year: the finest that gives at most some 200 buckets."""
    days = (last - first) / _DAY
    if days <= 5:
        start = first // 3600 * 3600
        count = np.bincount((time - start) // 3600)
        return Timeline("hour", [_iso(start + 3600 * k) for k in range(len(count))], count.tolist())
    start_day = first // _DAY
    per_day = np.bincount(time // _DAY - start_day)
    dates = np.datetime64("1970-01-01", "D") + (start_day + np.arange(len(per_day)))
    if days <= 150:
        return Timeline("day", dates.astype(str).tolist(), per_day.tolist())
    if days <= 1000:
        monday = (dates.astype(np.int64) + 3) // 7  # 1970-01-01 was a Thursday
        starts = (np.unique(monday) * 7 - 3).astype("datetime64[D]")
        return Timeline("week", starts.astype(str).tolist(), np.bincount(monday - monday[0], weights=per_day).astype(np.int64).tolist())
    unit, code = ("month", "M") if days <= 6000 else ("year", "Y")
    period = dates.astype(f"datetime64[{code}]")
    which = (period - period[0]).astype(np.int64)
    starts = np.arange(period[0], period[-1] + 1).astype("datetime64[D]")
    return Timeline(unit, starts.astype(str).tolist(), np.bincount(which, weights=per_day).astype(np.int64).tolist())


def _iso(seconds: int) -> str:
    return str(np.datetime64(seconds, "s")).replace("T", " ")


def _warnings(r: QualityReport, data: Dataset, top_user_share: float) -> list[str]:
    said: list[str] = []
    if r.interactions < MIN_INTERACTIONS:
        said.append(
            f"Too little to learn from: {r.interactions:,} interactions; at least {MIN_INTERACTIONS:,} are needed for results to mean much."
        )
    if r.per_user.with_two_or_more < MIN_USERS_WITH_TWO:
        said.append(
            f"Too little to learn from: {r.per_user.with_two_or_more:,} users have two or more interactions; "
            f"at least {MIN_USERS_WITH_TWO} are needed."
        )
    elif r.per_user.with_two_or_more < 0.2 * r.users:
        share = r.per_user.with_two_or_more / r.users
        said.append(f"Only {share:.0%} of the users have two or more interactions: for the others nothing can be held out for testing.")
    if r.top_item_share > DOMINANT_SHARE and r.items > 1:
        item = data.items.decode(np.array([np.bincount(data.item).argmax()]))[0]
        said.append(
            f"One item, '{str(item)[:60]}', has {r.top_item_share:.0%} of all interactions: recommending it to everyone will look good."
        )
    if top_user_share > DOMINANT_SHARE and r.users > 1:
        user = data.users.decode(np.array([np.bincount(data.user).argmax()]))[0]
        said.append(f"One user, '{str(user)[:60]}', has {top_user_share:.0%} of all interactions: perhaps a test account or a robot.")
    if data.feedback == "explicit" and len(r.values.count) == 1:
        said.append(f"All ratings are {r.values.start[0]:g}: they say nothing about liking. Treat the data as implicit feedback.")
    if data.feedback == "explicit" and data.threshold is not None and r.interactions and r.share_relevant < 0.01:
        said.append(
            f"Only {r.share_relevant:.1%} of the ratings reach the threshold {data.threshold:g}: lower it, or nothing counts as liked."
        )
    if r.interactions and r.density < SPARSE_DENSITY and r.interactions >= MIN_INTERACTIONS:
        said.append(f"The data are very sparse: {r.density:.1e} of all user-item pairs occur. Filtering rare items and users may help.")
    for side, activity in (("users", r.per_user), ("items", r.per_item)):
        if activity.share_under_5 > MOST_COLD_SHARE and r.interactions >= MIN_INTERACTIONS:
            said.append(f"{activity.share_under_5:.0%} of the {side} have fewer than {FEW} interactions: for them little can be learnt.")
    if data.time is not None and r.interactions > 1 and r.first_time == r.last_time:
        said.append("All times are equal: they cannot order anything. Splits by time will not work.")
    elif r.first_time is not None and r.last_time is not None and r.last_time < "1971":
        said.append("The times lie in 1970: they are probably positions, not dates. Their order is used; charts over time mean nothing.")
    return said
