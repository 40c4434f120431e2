"""How much a value of a setting, or a whole variant, differs from another on the same users, and how sure that is.

Chance enters twice. Which users were drawn: a paired bootstrap of the users' differences, each averaged over the seeds. How a training
happened to go: with two seeds or more, the spread of the variants' means between seeds beyond what all variants share is the noise of
one training (pooled over variants, (V - 1)(S - 1) degrees of freedom), and the interval is widened by it. With one seed the interval
knows of users only. p-values are those of the paired t-test with both variances (Welch-Satterthwaite degrees of freedom),
corrected by Holm's method.
Source: Satterthwaite, An approximate distribution of estimates of variance components, 1946, https://doi.org/10.2307/3002019.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..metrics._bootstrap import mean_intervals
from .ablation import Contrasts, Plan
from .compare import Difference, corrected, higher_is_better

ROUNDING = 1e-12


@dataclass(frozen=True)
class Effect:
    """One value of a setting against another. found: the difference, `name_a` and `name_b` being the values (or numbers of variants)
    as JSON. by_seed: of each seed alone."""

    axis: str
    found: Difference
    by_seed: tuple[float, ...]

    @property
    def against(self) -> Any:
        return json.loads(self.found.name_a)

    @property
    def value(self) -> Any:
        return json.loads(self.found.name_b)

    def as_dict(self) -> dict[str, Any]:
        return {"axis": self.axis, "by_seed": list(self.by_seed)} | self.found.as_dict()

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Effect:
        values = {name: saved[name] for name in Difference.__dataclass_fields__}
        numbers = {name: float("nan") if value is None else value for name, value in values.items()}
        return cls(str(saved["axis"]), Difference(**numbers), tuple(saved["by_seed"]))


@dataclass(frozen=True)
class _Asked:
    """A comparison: weights (V,) of the difference, and those of what it is compared with."""

    axis: str
    a: str
    b: str
    weights: np.ndarray
    start: np.ndarray


def effects(
    values: np.ndarray, plan: Plan, done: set[int], metric: str, *, level: float = 0.95, n: int = 1000, seed: int = 0
) -> list[Effect]:
    """Every value of every axis against every other, that of the base first where it is one of the two. Comparisons with the base are
    corrected for each other, and so are all the rest.

    values: float (S, V, U), the figure of each seed, variant and user; variants not in `done` are not read. Users without a figure for
    one of them are left out. What the variants that were done cannot tell is not there. Cost: one bootstrap over users x pairs.
    """
    contrasts, asked = Contrasts(plan, done), []
    for axis in plan.axes:
        for a, b in axis.pairs:
            a, b = (b, a) if b == axis.base else (a, b)
            weights, start = contrasts.difference(axis, a, b), contrasts.level(axis, a)
            if weights is not None and start is not None:
                asked.append(_Asked(axis.name, json.dumps(a), json.dumps(b), weights, start))
    found, bases = _measured(asked, values, done, metric, level, n, seed), {axis.name: axis.base for axis in plan.axes}
    return _corrected([e for e in found if e.against == bases[e.axis]]) + _corrected([e for e in found if e.against != bases[e.axis]])


def variants_to_base(
    values: np.ndarray, plan: Plan, done: set[int], metric: str, *, level: float = 0.95, n: int = 1000, seed: int = 0
) -> dict[int, Effect]:
    """Number of a variant -> its difference to variant 0, corrected for each other; arguments as of `effects`."""
    one, numbers = np.eye(len(plan.variants)), sorted(done - {0})
    asked = [_Asked("", "0", str(number), one[number] - one[0], one[0]) for number in numbers if 0 in done]
    return dict(zip(numbers, _corrected(_measured(asked, values, done, metric, level, n, seed)), strict=False))


def _corrected(found: Sequence[Effect]) -> list[Effect]:
    return [replace(e, found=d) for e, d in zip(found, corrected([e.found for e in found]), strict=True)]


def _measured(asked: Sequence[_Asked], values: np.ndarray, done: set[int], metric: str, level: float, n: int, seed: int) -> list[Effect]:
    numbers = sorted(done)
    complete = np.isfinite(values[:, numbers]).all(axis=(0, 1))
    if not asked or not complete.any():
        return []
    there = np.isin(np.arange(values.shape[1]), numbers)
    used = np.where(there[None, :, None], values, 0.0)[:, :, complete]
    noise = training_noise(used[:, numbers])
    table, means = used.mean(axis=0), used.mean(axis=2)  # (V, U), (S, V)
    gaps = np.stack([one.weights @ table for one in asked], axis=1)  # (U, C)
    gaps[np.abs(gaps) < ROUNDING] = 0.0  # neither won nor lost
    low, high = mean_intervals(gaps, level=level, n=n, seed=seed)
    found = []
    for c, one in enumerate(asked):
        start = float((means @ one.start).mean())
        plain = _difference(metric, one, gaps[:, c], start, values.shape[2] - len(gaps), level)
        plain = replace(plain, low=float(low[c]), high=float(high[c]))
        sure = _with_noise(plain, gaps[:, c], float(one.weights @ one.weights), len(means), noise)
        found.append(Effect(one.axis, sure, tuple((means @ one.weights).tolist())))
    return found


def training_noise(values: np.ndarray) -> tuple[float, int]:
    """(variance of a variant's mean from one training to the next, degrees of freedom) of values (S, V, U); (0, 0) for one seed."""
    means = values.mean(axis=2)
    n_seeds, n_variants = means.shape
    freedom = (n_seeds - 1) * (n_variants - 1)
    if freedom < 1:
        return 0.0, 0
    rest = means - means.mean(axis=0, keepdims=True) - means.mean(axis=1, keepdims=True) + means.mean()
    return float((rest**2).sum() / freedom), freedom


def _with_noise(found: Difference, gap: np.ndarray, size: float, n_seeds: int, noise: tuple[float, int]) -> Difference:
    """The interval widened, and the p-value raised, by the chance of training. size: sum of the squared weights of the contrast."""
    from scipy.special import stdtr, stdtrit

    n = len(gap)
    of_users = float(gap.var(ddof=1)) / n if n > 1 else float("nan")
    of_training, freedom = noise[0] * size / n_seeds, noise[1]
    both = of_users + of_training
    if not np.isfinite(both):
        return found
    if both == 0:
        return replace(found, p_value=1.0 if found.difference == 0 else 0.0)
    degrees = both**2 / (of_users**2 / (n - 1) + (of_training**2 / freedom if freedom else 0.0))
    p_value = float(2 * stdtr(degrees, -abs(found.difference) / np.sqrt(both)))
    if not freedom or not of_training:
        return replace(found, p_value=p_value)
    tail = (1 - found.level) / 2
    reach = float(stdtrit(degrees, 1 - tail)) * np.sqrt(both)
    below, above = found.difference - found.low, found.high - found.difference  # the bootstrap may lean to one side
    width = (below + above) / 2
    lean = (below / width, above / width) if width > 0 else (1.0, 1.0)
    return replace(found, p_value=p_value, low=found.difference - lean[0] * reach, high=found.difference + lean[1] * reach)


def _difference(metric: str, asked: _Asked, gap: np.ndarray, mean_a: float, n_left_out: int, level: float) -> Difference:
    mean, spread = float(gap.mean()), float(gap.std(ddof=1)) if len(gap) > 1 else float("nan")
    higher = higher_is_better(metric)
    won = gap > 0 if higher else gap < 0
    return Difference(
        metric=metric,
        name_a=asked.a,
        name_b=asked.b,
        n_users=len(gap),
        n_left_out=n_left_out,
        mean_a=mean_a,
        mean_b=mean_a + mean,
        difference=mean,
        low=float("nan"),
        high=float("nan"),
        level=level,
        p_value=float("nan"),
        relative=mean / mean_a if mean_a else float("nan"),
        effect_size=mean / spread if spread else float(np.sign(mean)) * np.inf if mean else 0.0,
        wins=int(won.sum()),
        losses=int(((gap != 0) & ~won).sum()),
        ties=int((gap == 0).sum()),
        higher_is_better=higher,
    )
