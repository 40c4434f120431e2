"""What the Diversity page says in words: what is bought, at what price. Plain numbers in, sentences out; no streamlit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.evaluation import metric_label

from .text import listing, number

# metric -> (what getting better at it is called, "the lists are 22 % …" when better, when worse)
GAINS: dict[str, tuple[str, str, str]] = {
    "intra_list_diversity": ("more variety", "more varied", "less varied"),
    "miscalibration": ("matching each user's own mix", "closer to each user's own mix", "further from each user's own mix"),
    "novelty": ("more novelty", "more novel", "less novel"),
    "long_tail_share": ("more room for the long tail", "", ""),
    "coverage": ("showing more of the catalogue", "", ""),
    "gini": ("showing items more evenly", "", ""),
    "entropy": ("showing items more evenly", "", ""),
    "serendipity": ("more surprise", "", ""),
}


@dataclass(frozen=True)
class Value:
    """A figure at one strength. low, high: 95 %, NaN where it has none."""

    mean: float
    low: float = math.nan
    high: float = math.nan


def plugin(name: str) -> Any:
    """The metric plug-in of "ndcg" or "ndcg@10"; None when there is none."""
    try:
        return registry.get("metric", name.partition("@")[0])
    except NotFound:
        return None


def higher_is_better(name: str) -> bool:
    cls = plugin(name)
    return True if cls is None else bool(cls.higher_is_better)


def value_of(point: Mapping[str, Any], name: str) -> Value:
    """A figure of one point of a curve; NaN where it was not measured."""
    found = point.get("metrics", {}).get(name)
    if found is not None:
        return Value(*(_float(found.get(part)) for part in ("mean", "low", "high")))
    return Value(_float(point.get("overall", {}).get(name)))


def change_of(point: Mapping[str, Any], start: Mapping[str, Any], name: str) -> Value:
    """How a figure differs from that of the lists as they were, as a share of it: 0.22 = 22 % more.

    The interval is that of the paired difference, user by user, where the point has one.
    """
    before, after = value_of(start, name).mean, value_of(point, name).mean
    if not math.isfinite(before) or not math.isfinite(after) or before == 0:
        return Value(math.nan)
    paired = (point.get("change") or {}).get(name) or {}
    return Value((after - before) / abs(before), _float(paired.get("low")) / abs(before), _float(paired.get("high")) / abs(before))


def percent(value: float) -> str:
    """.0182 -> "1.8 %"; without a sign. What is nearly nothing is said to be."""
    size = 100 * abs(value)
    return f"{size:.0f} %" if size >= 10 else f"{size:.1f} %"


def strength_text(strength: float) -> str:
    """.35, as it stands on the slider."""
    return "0" if strength == 0 else "1" if strength == 1 else f"{strength:.2f}".lstrip("0")


def question(name: str) -> str:
    """The title of the curve."""
    gain = GAINS.get(name.partition("@")[0])
    return f"What does {gain[0]} cost?" if gain else f"What does a better '{metric_label(name)}' cost?"


def cheapest_question(name: str) -> str:
    """The title of all methods' curves."""
    gain = GAINS.get(name.partition("@")[0], ("",))[0]
    return f"Which method buys {gain if gain.startswith('more ') else 'it'} cheapest?"


def sentence(point: Mapping[str, Any], start: Mapping[str, Any], other: str, accuracy: str, opening: str) -> str:
    """ "At .35 the lists are 22 % more varied and lose 1.8 % of NDCG@10 (1.1 to 2.6)." opening: "At .35", "With this"."""
    if point is start or all(change == {"mean": 0.0, "low": 0.0, "high": 0.0} for change in (point.get("change") or {"": 1}).values()):
        return f"{opening} the lists stay as the model makes them."
    gain, loss = change_of(point, start, other), change_of(point, start, accuracy)
    return f"{opening} {_gained(gain.mean, point, start, other)}{_lost(loss, accuracy)}."


def _gained(change: float, point: Mapping[str, Any], start: Mapping[str, Any], name: str) -> str:
    key, label = name.partition("@")[0], metric_label(name)
    if not math.isfinite(change):
        before, after = value_of(start, name).mean, value_of(point, name).mean
        if not math.isfinite(after):
            return f"{label} cannot be worked out"
        return f"{label} goes from {number(before)} to {number(after)}"
    _, better, worse = GAINS.get(key, ("", "", ""))
    if abs(change) < 0.0005:
        return f"{label} stays as it is"
    words = better if (change > 0) == higher_is_better(key) else worse
    if words:
        return f"the lists are {percent(change)} {words}"
    return f"{label} {'rises' if change > 0 else 'falls'} by {percent(change)}"


def _lost(change: Value, name: str) -> str:
    label = metric_label(name)
    if not math.isfinite(change.mean):
        return ""
    if change.mean == 0 and not (change.low or change.high):
        return f" and {label} stays as it is"
    if not (math.isfinite(change.low) and math.isfinite(change.high)):
        return f" and {'lose' if change.mean < 0 else 'gain'} {percent(change.mean)} of {label}"
    if change.low <= 0 <= change.high:
        span = f"{_signed(change.low)} to {_signed(change.high)}"
        return f"; {label} changes by {_signed(change.mean)} % ({span}), which may be chance"
    ends = sorted((abs(change.low), abs(change.high)))
    return f" and {'lose' if change.mean < 0 else 'gain'} {percent(change.mean)} of {label} ({_signed(ends[0])} to {_signed(ends[1])})"


def pair(point: Mapping[str, Any], start: Mapping[str, Any], names: Sequence[str]) -> str:
    """ "NDCG@10 0.290 → 0.263 · Novelty@10 5.1 → 6 bits"."""
    told = []
    for name in names:
        unit = f" {plugin(name).unit}" if plugin(name) is not None and plugin(name).unit else ""
        told.append(f"{metric_label(name)} {_figure(value_of(start, name).mean)} → {_figure(value_of(point, name).mean)}{unit}")
    return " · ".join(told)


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else number(value)


def _signed(share: float) -> str:
    """.0182 -> "1.8", -.0182 -> "−1.8"."""
    size = f"{100 * abs(share):.1f}"
    return f"−{size}" if share < 0 and float(size) else size


def cheapest(curves: Mapping[str, Sequence[Mapping[str, Any]]], other: str, accuracy: str, budget: float) -> list[tuple[str, float]]:
    """What every method buys for at most `budget` (a share) of the accuracy, best first: (its name, gain as a share)."""
    sign = 1.0 if higher_is_better(other) else -1.0
    out = []
    for label, points in curves.items():
        affordable = [p for p in points if change_of(p, points[0], accuracy).mean >= -budget - 1e-9]
        gains = [gain for gain in (sign * change_of(p, points[0], other).mean for p in affordable) if math.isfinite(gain)]
        if gains:
            out.append((label, max(gains)))
    return sorted(out, key=lambda pair: -pair[1])


def cheapest_sentence(found: Sequence[tuple[str, float]], other: str, accuracy: str, budget: float) -> str:
    """ "For at most 2 % of NDCG@10, DPP gives lists 9.1 % more varied; MMR 6.1 %; nothing is to be had from Long-tail quota." """
    gaining = [(label, gain) for label, gain in found if gain >= 0.0005]
    opening = f"For at most {100 * budget:g} % of {metric_label(accuracy)}, "
    if not gaining:
        return f"{opening}no method gives a better {metric_label(other)}."
    (first, gain), *rest = gaining
    words = GAINS.get(other.partition("@")[0], ("", "", ""))[1]
    best = f"{first} gives lists {percent(gain)} {words}" if words else f"{first} makes {metric_label(other)} {percent(gain)} better"
    told = [best, *(f"{label} {percent(gain)}" for label, gain in rest)]
    nothing = [label for label, gain in found if gain < 0.0005]
    return opening + "; ".join([*told, *([f"nothing is to be had from {listing(nothing)}"] if nothing else [])]) + "."


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
