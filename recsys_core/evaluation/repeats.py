"""The same experiment more than once: repeated seeds and the folds of k-fold, and how far the figures spread.

Runs that differ in nothing but the seed are one experiment. Where the split is drawn by chance, another seed is another
split too, so that the spread holds both: other test interactions and another start of the model. Where the rule leaves
nothing to chance (the last items, a moment in time, a test file) it is the model alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .. import params as params_module
from .. import registry
from ..errors import NotFound, ParamError
from .compare import higher_is_better, holm_p_values, metric_label

LEFT_OUT = ("seed", "name", "threads")  # of a run's spec: what does not make it another experiment


@dataclass(frozen=True)
class Spread:
    """n figures of one measure. deviation: standard deviation between them (n - 1), NaN for one."""

    n: int
    mean: float
    deviation: float
    lowest: float
    highest: float

    def text(self, digits: int = 4) -> str:
        """ ".4525 ± .0013" with the leading zeros kept."""
        return f"{self.mean:.{digits}f}" + (f" ± {self.deviation:.{digits}f}" if np.isfinite(self.deviation) else "")


@dataclass(frozen=True)
class Repeat:
    """One experiment. runs: handles of the runs, by seed. kind: "seeds" (one figure a run), "folds" (of a single k-fold run) or
    "once". new_split: whether another seed also drew another split."""

    runs: tuple[Any, ...]
    kind: str
    new_split: bool

    @property
    def name(self) -> str:
        """The plainest of their names: "ALS" of "ALS", "ALS (2)" and "ALS (3)"."""
        return min((str(run.name) for run in self.runs), key=lambda name: (len(name), name))

    @property
    def ids(self) -> list[str]:
        return [run.id for run in self.runs]

    @property
    def seeds(self) -> list[int]:
        return [int(run.spec.get("seed", 0)) for run in self.runs]

    @property
    def label(self) -> str:
        """ "ALS, 3 seeds"."""
        n = len(self.runs[0].folds) if self.kind == "folds" else len(self.runs)
        return self.name if self.kind == "once" else f"{self.name}, {n} {self.kind}"

    @cached_property
    def keys(self) -> list[tuple[str, int]]:
        """What each figure belongs to: ("seed", 42) or ("<split id>", fold)."""
        if self.kind == "folds":
            return [(self.runs[0].split_id, fold) for fold in range(len(self.runs[0].folds))]
        return [("seed", seed) for seed in self.seeds]

    def figures(self, metric: str) -> np.ndarray:
        """float (n,): the measure of each seed (fold), in the order of `keys`; NaN where it was not measured."""
        if self.kind == "folds":
            return np.array([float(fold.get(metric, np.nan)) for fold in self.runs[0].folds])
        return np.array([_figure(run, metric) for run in self.runs])

    def spread(self, metric: str) -> Spread:
        values = self.figures(metric)
        values = values[np.isfinite(values)]
        if len(values) == 0:
            return Spread(0, *[float("nan")] * 4)
        deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        return Spread(len(values), float(values.mean()), deviation, float(values.min()), float(values.max()))


def _figure(run: Any, metric: str) -> float:
    found = run.metrics.get(metric, {}).get("mean") if metric in run.metrics else run.overall.get(metric)
    return float("nan") if found is None else float(found)


def repeats(runs: Iterable[Any]) -> list[Repeat]:
    """Every experiment among `runs` (RunEntry), in the order of their first appearance; of two runs with the same seed the
    first counts. Fusions of trained runs are never the same experiment: their parts belong to one split."""
    found: dict[str, dict[int, Any]] = {}
    for run in runs:
        found.setdefault(experiment_id(run.spec), {}).setdefault(int(run.spec.get("seed", 0)), run)
    out = []
    for by_seed in found.values():
        members = tuple(by_seed[seed] for seed in sorted(by_seed))
        kind = "seeds" if len(members) > 1 else "folds" if len(members[0].folds) > 1 else "once"
        out.append(Repeat(members, kind, _seeded(str(members[0].spec.get("split", "")))))
    return out


def experiment_id(spec: dict[str, Any]) -> str:
    """The same for specs that differ in the seed alone; defaults spelled out and defaults left out are the same."""
    plain = {name: value for name, value in spec.items() if name not in LEFT_OUT}
    for kind, key, values in (("model", "model", "params"), ("splitter", "split", "split_params")):
        plain[values] = _filled(kind, str(spec.get(key, "")), spec.get(values) or {})
    return hashlib.blake2b(json.dumps(plain, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _filled(kind: str, key: str, values: dict[str, Any]) -> dict[str, Any]:
    """With defaults; as they are where this installation does not know the plug-in or its parameters any more."""
    try:
        cls = registry.get(kind, key)
        return params_module.build(cls.Params, values, owner=cls.label).model_dump(mode="json")
    except (NotFound, ParamError):
        return values


def _seeded(split: str) -> bool:
    try:
        return bool(registry.get("splitter", split).seeded)
    except NotFound:
        return True


@dataclass(frozen=True)
class RepeatDifference:
    """B - A over the seeds (folds) both were run with. deviation: standard deviation of the differences. wins: seeds in which B is
    better. low, high, p_value: corrected resampled t-test (see `compare_repeats`); NaN below two. p_holm: p_value corrected for the
    n_compared pairs looked at together (`corrected_repeats`)."""

    metric: str
    name_a: str
    name_b: str
    what: str
    differences: tuple[float, ...]
    mean: float
    deviation: float
    low: float
    high: float
    p_value: float
    wins: int
    level: float
    p_holm: float = float("nan")
    n_compared: int = 1

    @property
    def clear(self) -> bool:
        """As between two runs: the interval does not hold 0, and the corrected p-value is below 1 - level."""
        return self.outside_zero and (self.n_compared == 1 or self.p_holm < 1 - self.level)

    @property
    def outside_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def sentence(self) -> str:
        """In plain words."""
        label, n = metric_label(self.metric), len(self.differences)
        won = f"{self.name_b} is ahead of {self.name_a} in {self.wins} of {n} {self.what}"
        if n < 2:
            return f"{won}; one says nothing of the spread."
        amount = f"{self.mean:+.4f} ± {self.deviation:.4f} {label} (95 % interval {self.low:+.4f} to {self.high:+.4f})"
        amount = amount.replace("95 %", f"{100 * self.level:g} %")
        why = f", once corrected for {self.n_compared} comparisons" if self.outside_zero and not self.clear else ""
        return f"{won}: {amount}; {'clear' if self.clear else 'not clear'} with {n} {self.what}{why}."


def compare_repeats(a: Repeat, b: Repeat, metric: str, *, level: float = 0.95) -> RepeatDifference | None:
    """Paired by seed (fold); None without one in common.

    Source: Nadeau and Bengio, Inference for the generalization error, 2003, https://doi.org/10.1023/A:1024068626366,
    equation 9: the variance of the mean of n differences is s²(1/n + n_test/n_train), since training sets of random splits
    overlap; a plain t-test calls far too much clear. For splits that do not change with the seed the second term is 0.
    """
    at_a, at_b = dict(zip(a.keys, a.figures(metric), strict=True)), dict(zip(b.keys, b.figures(metric), strict=True))
    gaps = np.array([at_b[key] - at_a[key] for key in at_a if key in at_b])
    gaps = gaps[np.isfinite(gaps)]
    n = len(gaps)
    if n == 0:
        return None
    mean, deviation = float(gaps.mean()), float(gaps.std(ddof=1)) if n > 1 else float("nan")
    low = high = p_value = float("nan")
    if n > 1:
        from scipy.special import stdtr, stdtrit

        error = deviation * np.sqrt(1 / n + (holdout_ratio(a.runs[0]) if a.new_split or a.kind == "folds" else 0.0))
        reach = stdtrit(n - 1, 1 - (1 - level) / 2) * error
        low, high = mean - float(reach), mean + float(reach)
        p_value = float(2 * stdtr(n - 1, -abs(mean) / error)) if error else float(mean == 0)
    return RepeatDifference(
        metric=metric,
        name_a=a.name,
        name_b=b.name,
        what="folds" if a.kind == "folds" else "seeds",
        differences=tuple(gaps.tolist()),
        mean=mean,
        deviation=deviation,
        low=low,
        high=high,
        p_value=p_value,
        wins=int(((gaps > 0) if higher_is_better(metric) else (gaps < 0)).sum()),
        level=level,
    )


def corrected_repeats(found: Sequence[RepeatDifference]) -> list[RepeatDifference]:
    """The same with p_holm and n_compared for this family of comparisons."""
    holm = holm_p_values([one.p_value for one in found])
    return [replace(one, p_holm=float(p), n_compared=len(found)) for one, p in zip(found, holm, strict=True)]


def holdout_ratio(run: Any) -> float:
    """Test interactions over training interactions, from the protocol card; a quarter (one fifth held out) without one."""
    counts = run.card().get("interactions") or {}
    return float(counts["test"]) / counts["training"] if counts.get("training") and counts.get("test") else 0.25


def said(found: Sequence[Repeat], metric: str) -> list[str]:
    """ "ALS, 3 seeds: 0.4525 ± 0.0013" of each that was repeated."""
    return [f"{one.label}: {one.spread(metric).text()}" for one in found if one.kind != "once"]
