"""Two runs on the same users: the difference, how sure it is, and a sentence that says so.

What decides: a difference is *clear* when its bootstrap interval does not hold 0 and the p-value of its paired t-test,
corrected by Holm's method for everything compared in the same call, is below 1 - level. Both, because each covers the
other's weak side: the interval makes no assumption about how users differ but is too short for a handful of users, where
the t-test is wide; and only the p-value can be corrected. The Wilcoxon test is shown beside them and decides nothing: it asks
about the typical user, not about the mean that the sentence tells.
Source: Holm, A simple sequentially rejective multiple test procedure, 1979, https://www.jstor.org/stable/4615733;
Wilcoxon with the zeros handled as Pratt, 1959, https://doi.org/10.1080/01621459.1959.10501526: users without a difference take
part in the ranking and are then left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .. import registry
from ..errors import NotFound, Unsupported
from ..metrics._bootstrap import mean_intervals

EFFECTS = ((0.2, "very small"), (0.5, "small"), (0.8, "medium"))  # Cohen, Statistical power analysis, 1988; from 0.8: large
EXACT_FROM = 14  # users: below, scipy would try all 2^n signs, half a second a pair


@dataclass(frozen=True)
class Difference:
    """B − A for one metric over the users both runs were measured on.

    low, high: paired bootstrap interval of the mean difference. p_value: paired t-test, two-sided.
    p_wilcoxon: signed-rank test, two-sided (zeros as Pratt). p_holm: p_value corrected for the n_compared comparisons
    made together; the same as p_value for one. relative: difference / mean of A (NaN when that is 0).
    effect_size: mean / standard deviation of the users' differences (NaN for one user). wins, losses, ties: users for whom B is better,
    worse, equal.
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
    p_wilcoxon: float = float("nan")
    p_holm: float = float("nan")
    n_compared: int = 1

    @property
    def clear(self) -> bool:
        """The interval does not hold 0, and the corrected p-value is below 1 - level."""
        return self.outside_zero and self.p_holm < 1 - self.level

    @property
    def outside_zero(self) -> bool:
        """The interval, which knows of no other comparison, does not hold 0."""
        return self.low > 0 or self.high < 0

    @property
    def effect(self) -> str:
        """The effect size in a word: how large the difference is beside how much users differ in it."""
        if np.isnan(self.effect_size):
            return "not known"
        return next((word for limit, word in EFFECTS if abs(self.effect_size) < limit), "large")

    @property
    def better(self) -> str | None:
        """Name of the clearly better run, or None."""
        if not self.clear:
            return None
        return self.name_b if (self.difference > 0) == self.higher_is_better else self.name_a

    def sentence(self) -> str:
        """The verdict in plain words."""
        label = metric_label(self.metric)
        users = f"{self.n_users:,} {'user' if self.n_users == 1 else 'users'}, {100 * self.level:g} % interval"
        if not self.clear:
            text = f"No clear difference between {self.name_b} and {self.name_a} in {label}: {self.amount(signed=True)} ({users}"
            return f"{text}{self.why_not})."
        word = "better" if (self.difference > 0) == self.higher_is_better else "worse"
        return f"{self.name_b} is {word} than {self.name_a} in {label} by {self.amount(signed=False)} ({users})."

    @property
    def why_not(self) -> str:
        """Why a difference whose interval does not hold 0 is not clear all the same."""
        if not self.outside_zero:
            return ""
        if np.isnan(self.p_value):
            return "; one user says nothing of the others"
        if self.p_value < 1 - self.level:
            return f"; not clear once corrected for {self.n_compared} comparisons"
        return f"; not clear by the paired t-test, p = {self.p_value:.2g}"

    def amount(self, *, signed: bool) -> str:
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
        return plain | {"clear": self.clear, "better": self.better, "effect": self.effect, "sentence": self.sentence()}


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
    runs: Mapping[str, pd.DataFrame],
    baseline: str,
    metrics: Sequence[str],
    *,
    level: float = 0.95,
    n: int = 1000,
    seed: int = 0,
    wilcoxon: bool = True,
) -> list[Difference]:
    """Every run against the baseline, for every metric they both have; users of either alone are left out.

    All intervals share one set of resamples; p-values are corrected for all that is compared here. wilcoxon=False leaves
    p_wilcoxon NaN and saves the import of scipy.stats (0.4 s, 50 MB). Cost: one bootstrap over users × (runs · metrics).
    """
    if baseline not in runs:
        raise NotFound(f"There is no run '{baseline}' to compare with.", f"Runs: {', '.join(runs)}.")
    return _compared(runs, [(baseline, name, m) for name in runs if name != baseline for m in metrics], level, n, seed, wilcoxon)


def pairwise(runs: Mapping[str, pd.DataFrame], metric: str, *, level: float = 0.95, n: int = 1000, seed: int = 0) -> list[Difference]:
    """Every run against every other, B the later one in `runs`; p-values are corrected for all pairs."""
    names = list(runs)
    return _compared(runs, [(a, b, metric) for i, a in enumerate(names) for b in names[i + 1 :]], level, n, seed, True)


def _compared(
    runs: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str, str]], level: float, n: int, seed: int, wilcoxon: bool
) -> list[Difference]:
    """pairs: (name of A, name of B, metric)."""
    found = [(a, b, m) for a, b, m in pairs if m in runs[a] and m in runs[b]]
    if not found:
        wanted = ", ".join(dict.fromkeys(m for _, _, m in pairs))
        raise Unsupported(f"The runs have no per-user values of {wanted} in common.", "Choose a metric both were measured with.")
    gaps = pd.DataFrame({i: runs[b][m] - runs[a][m] for i, (a, b, m) in enumerate(found)})
    empty = gaps.isna().all()
    if empty.any():
        a, b, m = found[int(np.flatnonzero(empty)[0])]
        raise Unsupported(f"'{b}' and '{a}' share no user with a value of {m}.", "Compare runs of one dataset and split.")
    gaps = gaps.dropna(how="all")
    low, high = mean_intervals(gaps.to_numpy(np.float64), level=level, n=n, seed=seed)
    out = [
        _difference(m, a, b, runs[a], runs[b], gaps[i].dropna(), float(low[i]), float(high[i]), level) for i, (a, b, m) in enumerate(found)
    ]
    if wilcoxon:
        out = [replace(d, p_wilcoxon=_signed_rank(gaps[i].dropna().to_numpy())) for i, d in enumerate(out)]
    return corrected(out)


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """The same with p_holm and n_compared for this family of comparisons."""
    holm = holm_p_values([d.p_value for d in found])
    return [replace(d, p_holm=float(p), n_compared=len(found)) for d, p in zip(found, holm, strict=True)]


def holm_p_values(p_values: Sequence[float]) -> np.ndarray:
    """float (n,): corrected by Holm's step-down method; NaN stays NaN and counts for nothing.

    Own lines, held against statsmodels by a test: its `multipletests` collects all garbage at every call, which takes
    50 to 200 ms, and scipy has no Holm.
    """
    out = np.asarray(p_values, dtype=np.float64).copy()
    known = np.flatnonzero(np.isfinite(out))
    rising = known[np.argsort(out[known], kind="stable")]
    left = len(known) - np.arange(len(known))
    out[rising] = np.minimum(np.maximum.accumulate(out[rising] * left), 1.0)
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
        effect_size=mean / spread if spread else float(np.sign(mean)) * np.inf if mean else 0.0,
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


def _signed_rank(values: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, zeros as Pratt; 1 when nobody differs, NaN for one user."""
    if len(values) < 2:
        return float("nan")
    if not values.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(values, zero_method="pratt", method="auto" if len(values) >= EXACT_FROM else "asymptotic").pvalue)


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
