"""Can the test be trusted: was the traffic split as planned, and was it looked at too early?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import BadInput
from .experiment import FORMER, Experiment

BROKEN = 0.001  # a split this unlikely is a bug, not chance (Fabijan et al., KDD 2019)


def _p(value: float) -> str:
    """A small p-value in words that are true of it: never "p 0"."""
    return f"p {value:.1g}" if value >= 0.0001 else "p below 0.0001"


@dataclass(frozen=True)
class SampleRatio:
    """observed, expected: users by variant. p_value: of the χ² test that the split is as planned."""

    observed: dict[str, int]
    expected: dict[str, float]
    p_value: float

    @property
    def broken(self) -> bool:
        return self.p_value < BROKEN

    def sentence(self) -> str:
        if not self.broken:
            return f"The groups are as large as planned (p {self.p_value:.2g})."
        name = max(self.observed, key=lambda v: abs(self.observed[v] - self.expected[v]) / self.expected[v])
        return (
            f"The groups are not as large as planned: '{name}' has {self.observed[name]:,} users where {self.expected[name]:,.0f} were "
            f"expected ({_p(self.p_value)}). Something loses or adds users on the way; find it before reading the result."
        )


def sample_ratio(found: Experiment, planned: dict[str, float] | None = None) -> SampleRatio:
    """χ² test of the group sizes. planned: shares by variant, any positive numbers; default equal. A planned group that nobody
    is in counts as one with no users."""
    from scipy.stats import chisquare

    sizes = found.sizes | {name: 0 for name in planned or {} if name not in found.sizes}
    shares = {name: float((planned or {}).get(name, 1.0 if planned is None else 0.0)) for name in sizes}
    if min(shares.values()) <= 0:
        raise BadInput(f"Every group needs a planned share above 0; got {shares}.")
    total, whole = sum(sizes.values()), sum(shares.values())
    expected = {name: total * share / whole for name, share in shares.items()}
    return SampleRatio(sizes, expected, float(chisquare(list(sizes.values()), list(expected.values())).pvalue))


def former_differs(found: Experiment) -> str:
    """A sentence when the groups differed before the test already (one-way analysis of variance, p below `BROKEN`); else ""."""
    from scipy.stats import f_oneway

    if not found.has_former:
        return ""
    known = found.users.loc[found.users[FORMER].notna(), ["variant", FORMER]]
    parts = [part.to_numpy(float) for _, part in known.groupby("variant")[FORMER] if len(part) > 1]
    if len(parts) < 2 or any(np.ptp(part) == 0 for part in parts) or (p := float(f_oneway(*parts).pvalue)) >= BROKEN:
        return ""
    return (
        f"The groups differ in the value from before the test already ({_p(p)}). Either users were not drawn by lot, or the value was "
        "measured after the start; taking it out (CUPED) can then hide or make a difference. Leave that column out, or find the reason."
    )


@dataclass(frozen=True)
class Looks:
    """The result as it would have read at the end of every day. days: dates; difference, low, high, p_value: (D,) of one outcome,
    one variant against control, without CUPED; users: (D,) so far in both groups; total: users of all groups. planned: users
    the plan asked for in all, or None."""

    days: list[pd.Timestamp]
    users: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    level: float
    total: int
    planned: int | None = None

    @property
    def n_clear(self) -> int:
        """Days on which it looked decided."""
        return int((self.p_value < 1 - self.level).sum())

    def warning(self) -> str:
        """What to beware of; "" when there is nothing."""
        if self.planned is not None and self.total < self.planned:
            return (
                f"The test was planned for {self.planned:,} users and has {self.total:,}. A result that looks clear before the end "
                "is often chance: whoever looks every day and stops at the first clear result is wrong far more often than 1 in 20 times."
            )
        clear = self.p_value < 1 - self.level
        if clear.any() and not clear[int(clear.argmax()) :].all():
            if clear[-1]:
                return (
                    f"The result looked clear on {self.n_clear} of {len(clear)} days, but not on all since the first of them; it is clear "
                    "on the last. Days in between decide nothing: read it once, at the end that was planned."
                )
            return (
                f"The result looked clear on {self.n_clear} of {len(clear)} days, and did not stay so. Had you stopped at the first of "
                "them, you might have reported chance: read it once, at the end that was planned."
            )
        return ""


def looks(found: Experiment, outcome: str, variant: str, *, level: float = 0.95, planned: int | None = None) -> Looks:
    """The running result by day (users by the day of their first row). Cost: one pass; sums are running."""
    from scipy.stats import norm

    if "day" not in found.users:
        raise BadInput("The file has no date column, so the result by day cannot be shown.", "Choose the column of the dates.")
    part = found.users[found.users["variant"].isin([found.control, variant]) & found.users["day"].notna()]
    value = part[outcome].to_numpy(float)
    value = value - value.mean()  # else squares of large numbers leave nothing of small differences
    sums = pd.DataFrame({"n": 1.0, "x": value, "xx": value**2, "day": part["day"].to_numpy(), "b": (part["variant"] == variant).to_numpy()})
    daily = sums.groupby(["day", "b"]).sum().unstack("b", fill_value=0.0).sort_index().cumsum()
    stats = {}
    for side in (False, True):
        n, x, xx = (daily[(name, side)].to_numpy() if (name, side) in daily else np.zeros(len(daily)) for name in ("n", "x", "xx"))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = x / n
            stats[side] = (n, mean, np.maximum(xx - n * mean**2, 0) / (n - 1) / n)
    enough = (stats[False][0] > 1) & (stats[True][0] > 1)
    difference = (stats[True][1] - stats[False][1])[enough]
    error = np.sqrt(stats[True][2] + stats[False][2])[enough]
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * norm.sf(np.abs(difference) / error), 1.0)
    reach = norm.ppf(0.5 + level / 2) * error
    users = (stats[False][0] + stats[True][0])[enough].astype(int)
    return Looks(list(daily.index[enough]), users, difference, difference - reach, difference + reach, p, level, len(found.users), planned)
