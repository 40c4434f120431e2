"""What a run would have earned, from the log of another policy that says how likely it was to show what it showed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import BadInput

FEW = 50  # effective rows below which an estimate says little


@dataclass(frozen=True)
class OffPolicy:
    """ips, snips: estimated mean outcome of the run's lists, with intervals; logged: mean outcome of the policy that wrote the log.
    n_rows: used; n_matched: rows whose item the run would show. mean_weight: should be near 1; effective_rows:
    (Σw)² / Σw². n_clipped: weights cut at max_weight."""

    n_rows: int
    n_matched: int
    logged: float
    ips: float
    ips_low: float
    ips_high: float
    snips: float
    snips_low: float
    snips_high: float
    level: float
    mean_weight: float
    effective_rows: float
    n_clipped: int

    def warnings(self) -> list[str]:
        """What makes the estimate doubtful, in sentences."""
        found = []
        if self.effective_rows < FEW:
            found.append(
                f"The estimate rests on the weight of about {self.effective_rows:.0f} rows: the run shows other items than the log. "
                "Longer lists or a log with more exploration would tell more."
            )
        if self.n_matched and not 0.8 <= self.mean_weight <= 1.25:
            found.append(
                f"The mean weight is {self.mean_weight:.2f} and should be near 1: the propensities may not be those the log was written "
                "with, or some items of the run were never shown."
            )
        if self.n_clipped:
            found.append(f"{self.n_clipped:,} weights were cut to the largest allowed, which pulls the estimate down a little.")
        return found

    def sentence(self) -> str:
        return (
            f"The run's lists would have earned {self.snips:.4g} a row ({self.snips_low:.4g} to {self.snips_high:.4g}, "
            f"{100 * self.level:g} %, self-normalised), the logged policy earned {self.logged:.4g}."
        )


def off_policy(
    shown: np.ndarray,
    reward: np.ndarray,
    propensity: np.ndarray,
    lists: np.ndarray,
    *,
    users: np.ndarray | None = None,
    max_weight: float | None = None,
    level: float = 0.95,
) -> OffPolicy:
    """shown: int (n,) item of every logged row; reward: float (n,); propensity: float (n,) in (0, 1], chance with which the
    log's policy showed that item; lists: int (n, k), the run's list for the row's user (-1 = nothing). The run is taken to show each
    item of its list with the same chance 1 / (length of the list). users: (n,) whose row it is: rows of one user are not
    independent, so the intervals are over users (rows, without them).

    Source: IPS, Horvitz & Thompson 1952; SNIPS, Swaminathan & Joachims, "The self-normalized estimator for counterfactual
    learning", NIPS 2015. Intervals: normal, of SNIPS by the delta method, clustered by user. Cost: one
    comparison of (n, k).
    """
    from scipy.stats import norm

    shown, reward, propensity = np.asarray(shown), np.asarray(reward, dtype=float), np.asarray(propensity, dtype=float)
    n = len(shown)
    if n < 2:
        raise BadInput(f"At least 2 logged rows are needed; got {n}.")
    if not np.isfinite(propensity).all() or propensity.min() <= 0 or propensity.max() > 1:
        bad = propensity[~(np.isfinite(propensity) & (propensity > 0) & (propensity <= 1))][0]
        raise BadInput(f"A propensity is a chance: above 0 and at most 1; got {bad:g}.", "Choose the column of the logged chances.")
    if not np.isfinite(reward).all():
        raise BadInput("Every logged row needs an outcome that is a number.")
    if max_weight is not None and max_weight <= 0:
        raise BadInput(f"The largest weight must be above 0; got {max_weight:g}.")
    length = (lists >= 0).sum(axis=1)
    matched = ((lists == shown[:, None]) & (shown[:, None] >= 0)).any(axis=1)
    raw = np.where(matched, 1 / np.maximum(length, 1), 0.0) / propensity
    weight = raw if max_weight is None else np.minimum(raw, max_weight)
    reach = norm.ppf(0.5 + level / 2)
    ips = float((weight * reward).mean())
    ips_error = reach * _error(weight * reward - ips, users) / n
    total = weight.sum()
    snips = float((weight * reward).sum() / total) if total > 0 else float("nan")
    snips_error = reach * _error(weight * (reward - snips), users) / total if total > 0 else float("nan")
    return OffPolicy(
        n_rows=n, n_matched=int(matched.sum()), logged=float(reward.mean()), ips=ips, ips_low=float(ips - ips_error),
        ips_high=float(ips + ips_error), snips=snips, snips_low=float(snips - snips_error), snips_high=float(snips + snips_error),
        level=level, mean_weight=float(weight.mean()), effective_rows=float(total**2 / (weight**2).sum()) if total > 0 else 0.0,
        n_clipped=int((raw > weight).sum()),
    )  # fmt: skip


def _error(rest: np.ndarray, users: np.ndarray | None) -> float:
    """Standard error of the sum of residuals (n,), those of one user added up first; NaN for a single user."""
    sums = rest if users is None else np.bincount(np.unique(users, return_inverse=True)[1], rest)
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1))) if len(sums) > 1 else float("nan")
