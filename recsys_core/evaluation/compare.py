"""Two runs on the same users: the difference, how sure it is, and a sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import registry
from ..errors import NotFound, Unsupported
from ..metrics._bootstrap import mean_intervals


@dataclass(frozen=True)
class Difference:
    """B − A for one metric over the users both runs were measured on.

    low, high: paired bootstrap interval of the mean difference. p_value: paired t-test, two-sided.
    relative: difference / mean of A (NaN when that is 0). effect_size: mean / standard deviation of the
    users' differences. wins, losses, ties: users for whom B is better, worse, equal.
    """

    metric: str
    name_a: str
    name_b: str
    n_users: int
    n_left_out: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    relative: float
    effect_size: float
    wins: int
    losses: int
    ties: int
    higher_is_better: bool

    @property
    def clear(self) -> bool:
        """The interval does not hold 0."""
        return self.low > 0 or self.high < 0

    @property
    def better(self) -> str | None:
        """Name of the clearly better run, or None."""
        if not self.clear:
            return None
        return self.name_b if (self.difference > 0) == self.higher_is_better else self.name_a

    def sentence(self) -> str:
        """The verdict in plain words."""
        label = metric_label(self.metric)
        users = f"{self.n_users:,} users, {100 * self.level:g} % interval"
        if not self.clear:
            return f"No clear difference between {self.name_b} and {self.name_a} in {label}: {self._amount(signed=True)} ({users})."
        word = "better" if (self.difference > 0) == self.higher_is_better else "worse"
        return f"{self.name_b} is {word} than {self.name_a} in {label} by {self._amount(signed=False)} ({users})."

    def _amount(self, *, signed: bool) -> str:
        """'3.1 % (2.0 to 4.2)', in percent of A where that can be said, else in the metric's own unit."""
        values = np.array([self.difference, self.low, self.high])
        if not signed and self.difference < 0:
            values = -values[[0, 2, 1]]
        if np.isfinite(self.relative) and self.mean_a > 0:
            middle, low, high = 100 * values / self.mean_a
            return f"{middle:{'+' if signed else ''}.1f} % ({low:.1f} to {high:.1f})"
        middle, low, high = values
        return f"{middle:{'+' if signed else ''}.4g} ({low:.4g} to {high:.4g})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with the sentence."""
        plain = {name: (None if isinstance(value, float) and not np.isfinite(value) else value) for name, value in asdict(self).items()}
        return plain | {"clear": self.clear, "better": self.better, "sentence": self.sentence()}


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    metric: str,
    *,
    names: tuple[str, str] = ("A", "B"),
    level: float = 0.95,
    n: int = 1000,
    seed: int = 0,
) -> Difference:
    """The difference of two runs from their per-user frames (index user, column "ndcg@20")."""
    return differences({names[0]: a, names[1]: b}, names[0], [metric], level=level, n=n, seed=seed)[0]


def differences(
    runs: Mapping[str, pd.DataFrame], baseline: str, metrics: Sequence[str], *, level: float = 0.95, n: int = 1000, seed: int = 0
) -> list[Difference]:
    """Every run against the baseline, for every metric they both have; users of either alone are left out.

    All intervals share one set of resamples. Cost: one bootstrap over users × (runs · metrics).
    """
    if baseline not in runs:
        raise NotFound(f"There is no run '{baseline}' to compare with.", f"Runs: {', '.join(runs)}.")
    base = runs[baseline]
    others = [(name, frame) for name, frame in runs.items() if name != baseline]
    found = [(name, frame, m) for name, frame in others for m in metrics if m in frame and m in base]
    if not found:
        wanted = ", ".join(metrics)
        raise Unsupported(f"The runs have no per-user values of {wanted} in common.", "Choose a metric both were measured with.")
    gaps = pd.DataFrame({i: frame[m].reindex(base.index) - base[m] for i, (_, frame, m) in enumerate(found)})
    low, high = mean_intervals(gaps.to_numpy(np.float64), level=level, n=n, seed=seed)
    out = []
    for i, (name, frame, m) in enumerate(found):
        gap = gaps[i].dropna()
        if gap.empty:
            raise Unsupported(f"'{name}' and '{baseline}' share no user with a value of {m}.", "Compare runs of one dataset and split.")
        out.append(_difference(m, baseline, name, base, frame, gap, float(low[i]), float(high[i]), level))
    return out


def _difference(
    metric: str, name_a: str, name_b: str, base: pd.DataFrame, frame: pd.DataFrame, gap: pd.Series, low: float, high: float, level: float
) -> Difference:
    values = gap.to_numpy()
    mean_a, mean_b, mean = float(base.loc[gap.index, metric].mean()), float(frame.loc[gap.index, metric].mean()), float(values.mean())
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    higher = higher_is_better(metric)
    won = values > 0 if higher else values < 0
    return Difference(
        metric=metric,
        name_a=name_a,
        name_b=name_b,
        n_users=len(values),
        n_left_out=len(base.index.union(frame.index)) - len(values),
        mean_a=mean_a,
        mean_b=mean_b,
        difference=mean,
        low=low,
        high=high,
        level=level,
        p_value=_paired_t(mean, spread, len(values)),
        relative=mean / mean_a if mean_a else float("nan"),
        effect_size=mean / spread if spread else 0.0,
        wins=int(won.sum()),
        losses=int(((values != 0) & ~won).sum()),
        ties=int((values == 0).sum()),
        higher_is_better=higher,
    )


def _paired_t(mean: float, spread: float, n: int) -> float:
    """Two-sided p of the paired t-test; 1 when nobody differs, NaN for one user."""
    from scipy.special import stdtr

    if n < 2:
        return float("nan")
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stdtr(n - 1, -abs(mean) / (spread / np.sqrt(n))))


def higher_is_better(metric: str) -> bool:
    """Of "ndcg@20" or "ndcg"; True for a metric this package does not know."""
    try:
        return registry.get("metric", metric.split("@")[0]).higher_is_better
    except NotFound:
        return True


def metric_label(metric: str) -> str:
    """The label for people: NDCG@20 for "ndcg@20"; an unknown name stays."""
    key, at, k = metric.partition("@")
    try:
        return registry.get("metric", key).label + at + k
    except NotFound:
        return metric
