"""What came out of a test: each outcome, each variant against control, with an interval."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...errors import BadInput
from ..compare import holm_p_values
from .experiment import FORMER, Experiment

WORTH = 0.01  # share of the variance a pre-period value must take away to be used


@dataclass(frozen=True)
class Effect:
    """variant − control of one outcome. method: how it was tested, in words. p_adjusted: Holm over all effects of the readout.
    relative: in units of control's mean as it was measured (NaN where that is not above 0); how unsure that mean itself is does not
    widen it. variance_cut: share of the variance that CUPED took away, None without it. n_compared: effects of the readout."""

    outcome: str
    variant: str
    control: str
    n_variant: int
    n_control: int
    mean_variant: float
    mean_control: float
    difference: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    level: float
    method: str
    is_rate: bool
    variance_cut: float | None = None
    n_compared: int = 1

    @property
    def clear(self) -> bool:
        """Holm-corrected p below 1 − level."""
        return self.p_adjusted < 1 - self.level

    @property
    def relative(self) -> tuple[float, float, float]:
        """(difference, low, high) as shares of control's mean."""
        if self.mean_control <= 0:
            return float("nan"), float("nan"), float("nan")
        return self.difference / self.mean_control, self.low / self.mean_control, self.high / self.mean_control

    def sentence(self) -> str:
        """The verdict in plain words."""
        factor, unit = (100, " percentage points") if self.is_rate else (1, "")
        plus = "+" if self.difference > 0 else ""
        amount = f"{plus}{_plain(factor * self.difference)}{unit} ({_plain(factor * self.low)} to {_plain(factor * self.high)}"
        percent = f", {100 * self.relative[0]:+.1f} %" if np.isfinite(self.relative[0]) else ""
        how = f"{amount}, {100 * self.level:g} % interval{percent})"
        if not self.clear:
            chance = self.p_value < 1 - self.level
            why = f"; not clear once corrected for {self.n_compared} comparisons" if chance and self.n_compared > 1 else ""
            return f"No clear difference in '{self.outcome}' between '{self.variant}' and '{self.control}': {how}{why}."
        word = "raises" if self.difference > 0 else "lowers"
        return f"'{self.variant}' {word} '{self.outcome}' against '{self.control}': {how}."


def _plain(value: float) -> str:
    """Three digits that count, without exponents: 0.484, -0.000067, 12,300."""
    if not np.isfinite(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="-")


def readout(found: Experiment, *, level: float = 0.95, cuped: bool | None = None) -> list[Effect]:
    """Every variant against control, every outcome; p-values corrected together (Holm).

    Rates (outcomes of 0 and 1 only): Newcombe's interval and the score test (statsmodels proportions). Numbers: Welch's t-test.
    cuped: use the pre-period value (default: when there is one); the outcome is adjusted by θ (before − mean), θ by least squares
    over all groups, as Deng et al., "Improving the sensitivity of online controlled experiments", WSDM 2013; users without
    a pre-period value get its mean. An outcome it says nothing about (less than 1 % of the variance) stays as it is; an adjusted
    rate is tested as a number.
    """
    if not 0.5 <= level <= 0.9999:
        raise BadInput(f"The level must be from .5 to .9999; got {level:g}.")
    if cuped and not found.has_former:
        raise BadInput("CUPED needs a column from before the test.", "Choose the pre-period column.")
    use = found.has_former if cuped is None else cuped
    effects = []
    for outcome in found.outcomes:
        raw = found.users[outcome].to_numpy(float)
        values, cut = _adjusted(raw, found.users[FORMER].to_numpy(float)) if use else (raw, None)
        if cut is not None and cut < WORTH:
            values, cut = raw, None
        is_rate = bool(np.isin(raw, (0.0, 1.0)).all())
        for variant in found.variants[1:]:
            a, b = ((found.users["variant"] == name).to_numpy() for name in (found.control, variant))
            if min(a.sum(), b.sum()) < 2:
                raise BadInput(f"Group '{variant}' or '{found.control}' has fewer than 2 users.", "Leave it out.")
            test = _rates if is_rate and cut is None else _means
            difference, low, high, p, method = test(values[a], values[b], level)
            told = f"{method}, with CUPED" if cut is not None else method
            effects.append(
                Effect(
                    outcome=outcome, variant=variant, control=found.control, n_variant=int(b.sum()), n_control=int(a.sum()),
                    mean_variant=float(raw[b].mean()), mean_control=float(raw[a].mean()), difference=difference, low=low, high=high,
                    p_value=p, p_adjusted=p, level=level, method=told, is_rate=is_rate, variance_cut=cut,
                )
            )  # fmt: skip
    adjusted = holm_p_values([e.p_value for e in effects])
    return [replace(effect, p_adjusted=float(p), n_compared=len(effects)) for effect, p in zip(effects, adjusted, strict=True)]


def _adjusted(values: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, float]:
    """(values less what the pre-period foretells, share of the variance that is gone)."""
    known = np.isfinite(before)
    if known.sum() < 3 or before[known].std() == 0:
        return values, 0.0
    centred = np.where(known, before - before[known].mean(), 0.0)
    theta = float(np.cov(values[known], centred[known])[0, 1] / centred[known].var(ddof=1))
    out = values - theta * centred
    spread = values.var()
    return out, float(1 - out.var() / spread) if spread > 0 else 0.0


def _rates(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float, float, float, str]:
    from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep

    counts = (int(b.sum()), len(b), int(a.sum()), len(a))
    difference = float(b.mean() - a.mean())
    if counts[0] + counts[2] in (0, len(a) + len(b)):  # nobody, or everybody: there is nothing to test
        return 0.0, *map(float, confint_proportions_2indep(*counts, method="newcomb", alpha=1 - level)), 1.0, "score test of two rates"
    low, high = confint_proportions_2indep(*counts, method="newcomb", alpha=1 - level)
    with np.errstate(divide="ignore", invalid="ignore"):  # it works out the ratio too, which an empty arm has not
        p = test_proportions_2indep(*counts, method="score", compare="diff").pvalue
    return difference, float(low), float(high), float(p), "score test of two rates"


def _means(a: np.ndarray, b: np.ndarray, level: float) -> tuple[float, float, float, float, str]:
    from scipy.stats import ttest_ind

    difference = float(b.mean() - a.mean())
    if a.std() == 0 and b.std() == 0:
        return difference, difference, difference, 1.0 if difference == 0 else 0.0, "Welch's t-test"
    test = ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval(level)
    return difference, float(low), float(high), float(test.pvalue), "Welch's t-test"
