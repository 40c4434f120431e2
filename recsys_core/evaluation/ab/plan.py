"""How many users a test needs, and for how long."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...errors import BadInput


@dataclass(frozen=True)
class Plan:
    """What to run. kind: "rate" (a share of users) or "mean" (a number a user). lift: smallest difference worth finding, in the
    outcome's own unit. level: 1 − α of each comparison before it is shared out; n_groups: control and variants.
    users_per_group, users: needed; days: None where the traffic is not known. spread: standard deviation (mean only)."""

    kind: str
    baseline: float
    lift: float
    power: float
    level: float
    n_groups: int
    users_per_group: int
    users: int
    spread: float | None = None
    daily_users: float | None = None
    share: float = 1.0

    @property
    def days(self) -> int | None:
        """Whole days until enough users have come, at least one."""
        return None if not self.daily_users else max(1, math.ceil(self.users / (self.daily_users * self.share)))

    @property
    def weeks(self) -> int | None:
        """Whole weeks, so that every weekday is there equally often."""
        return None if self.days is None else math.ceil(self.days / 7)

    def sentence(self) -> str:
        """What to do, in words."""
        relative = f" ({100 * self.lift / self.baseline:+.1f} %)" if self.baseline else ""
        unit = f"{100 * self.lift:.2g} percentage points" if self.kind == "rate" else f"{self.lift:.3g}"
        text = f"To find a difference of {unit}{relative} with a chance of {100 * self.power:g} %, "
        text += f"{self.users_per_group:,} users a group are needed, {self.users:,} in all"
        if self.days is None:
            return f"{text}."
        weeks = f" Run whole weeks ({self.weeks * 7} days), so that every weekday counts alike." if self.days % 7 else ""
        return f"{text}: {self.days:,} {'day' if self.days == 1 else 'days'}.{weeks}"

    def curve(self, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
        """(lifts, users a group) around this plan, for "what would a smaller difference cost?"."""
        lifts = self.lift * np.geomspace(0.4, 2.5, n)
        if self.kind == "rate":
            lifts = lifts[(self.baseline + lifts > 0) & (self.baseline + lifts < 1)]
        return lifts, np.array([_users(replace(self, lift=float(lift))) for lift in lifts])


def plan_rate(
    baseline: float,
    lift: float,
    *,
    power: float = 0.8,
    level: float = 0.95,
    n_groups: int = 2,
    daily_users: float | None = None,
    share: float = 1.0,
) -> Plan:
    """Users needed to find baseline → baseline + lift (both shares, as .05 and .005) in a two-sided test.

    Source: Cohen's h and the normal approximation (statsmodels NormalIndPower). With several variants each is compared with
    control and 1 − level is shared between the comparisons (Bonferroni). share: of the traffic that enters the test.
    """
    if not 0 < baseline < 1:
        raise BadInput(f"The baseline rate must be between 0 and 1 (5 % is .05); got {baseline:g}.")
    if lift == 0 or not 0 < baseline + lift < 1:
        raise BadInput(f"The baseline rate plus the lift must be between 0 and 1, and the lift not 0; got {baseline:g} and {lift:g}.")
    return _planned(Plan("rate", baseline, lift, power, level, n_groups, 0, 0, None, daily_users, share))


def plan_mean(
    baseline: float,
    spread: float,
    lift: float,
    *,
    power: float = 0.8,
    level: float = 0.95,
    n_groups: int = 2,
    daily_users: float | None = None,
    share: float = 1.0,
) -> Plan:
    """The same for a number a user (revenue, minutes). spread: its standard deviation over users (statsmodels TTestIndPower)."""
    if spread <= 0:
        raise BadInput(f"The standard deviation must be above 0; got {spread:g}.")
    if lift == 0:
        raise BadInput("The smallest difference worth finding must not be 0.")
    return _planned(Plan("mean", baseline, lift, power, level, n_groups, 0, 0, spread, daily_users, share))


def _planned(plan: Plan) -> Plan:
    for name, value, low, high in (("power", plan.power, 0.5, 0.999), ("level", plan.level, 0.5, 0.9999)):
        if not low <= value <= high:
            raise BadInput(f"The {name} must be from {low} to {high}; got {value:g}.")
    if not 2 <= plan.n_groups <= 20:
        raise BadInput(f"A test has from 2 to 20 groups; got {plan.n_groups}.")
    if plan.daily_users is not None and plan.daily_users <= 0:
        raise BadInput(f"Users a day must be above 0; got {plan.daily_users:g}.")
    if not 0 < plan.share <= 1:
        raise BadInput(f"The share of the traffic must be above 0 and at most 1; got {plan.share:g}.")
    each = _users(plan)
    return replace(plan, users_per_group=each, users=each * plan.n_groups)


def _users(plan: Plan) -> int:
    from statsmodels.stats.power import NormalIndPower, TTestIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    alpha = (1 - plan.level) / (plan.n_groups - 1)
    if plan.kind == "rate":
        effect = abs(proportion_effectsize(plan.baseline + plan.lift, plan.baseline))
        solver = NormalIndPower()
    else:
        effect = abs(plan.lift) / plan.spread
        solver = TTestIndPower()
    if effect > 5:  # the solver fails where two users a group would do
        return 2
    return max(2, math.ceil(float(np.squeeze(solver.solve_power(effect_size=effect, alpha=alpha, power=plan.power, ratio=1.0)))))
