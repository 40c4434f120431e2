"""Ending hopeless trials early: what a network reports after each pass, told to Optuna's pruner.

Source: median rule of Golovin et al., Google Vizier, KDD 2017; asynchronous successive halving, Li et al., MLSys 2020,
https://arxiv.org/abs/1810.05934. Both as Optuna has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import optuna

from .. import registry
from ..context import Progress, RunContext
from ..errors import Cancelled, NotFound
from .objective import Objective

STARTUP_TRIALS = 5  # finished trials before the median says anything
WARMUP_EPOCHS = 8  # first passes say little: slow learners are not yet worse
HALVING_EPOCHS, HALVING_FACTOR = 5, 3  # the first look, and how many times later the next is


class TimeUp(Cancelled):
    """The minutes of the budget are over."""


def make_pruner(kind: str) -> optuna.pruners.BasePruner:
    """The pruner of a study: "none", "median" or "halving"."""
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS, n_min_trials=3)
    if kind == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=HALVING_EPOCHS, reduction_factor=HALVING_FACTOR)
    return optuna.pruners.NopPruner()


def tells_of(metric: str, objective: Objective) -> int:
    """How well a figure reported while fitting stands for the objective: 3 the same, 2 another k, 1 of the same kind and
    direction; 0 it says nothing of it (a loss never does)."""
    if metric == objective.name:
        return 3
    try:
        known = registry.get("metric", metric.partition("@")[0])
    except NotFound:
        return 0
    same = known.kind == objective.kind and known.higher_is_better == objective.higher_is_better
    return 0 if not same else 2 if known.key == objective.key else 1


@dataclass
class Watch:
    """Listens to one fit: keeps its curve, tells the pruner, ends it when told to or when the time is up.

    trial: what passes are reported to; None with two objectives, for which Optuna has no pruning. single: whether passes are those
    of one fit; of a fusion, whose parts report passes of their own, none is heard. A network that learns in phases (its
    stages are named "phase: training") is not ended early either, as its first phase does not tell how good the last will be; the
    curve is that of the last phase.
    """

    objective: Objective
    trial: optuna.Trial | None
    single: bool = True
    may_prune: bool = True
    until: float | None = None  # time.time()
    on_epoch: Callable[[list[dict[str, float]]], None] | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    metric: str = ""
    stage: str = ""

    @property
    def reported(self) -> bool:
        """Whether Optuna keeps the curve; else it is ours to keep."""
        return self.trial is not None and ":" not in self.stage

    def context(self, ctx: RunContext) -> RunContext:
        """`ctx` as the fit gets it: without a folder, so that trials leave no checkpoints behind."""

        def cancelled() -> bool:
            if self.until is not None and time.time() >= self.until:
                raise TimeUp("The time is up.")
            return ctx.cancelled()

        def told(step: Progress) -> None:
            ctx.on_progress(step)
            self.hear(step)

        return replace(ctx, cancelled=cancelled, on_progress=told, workdir=None)

    def hear(self, step: Progress) -> None:
        """One report of the fit. Raises TrialPruned where the trial is not worth going on with."""
        if not self.single or step.epoch is None or not step.metrics:
            return
        if not self.metric:
            fitting = {name: tells_of(name, self.objective) for name in step.metrics}
            best = max(fitting, key=fitting.__getitem__)
            self.metric = best if fitting[best] else ""
        value: Any = step.metrics.get(self.metric)
        if value is None:
            return
        if step.stage != self.stage:
            self.stage = step.stage
            self.curve.clear()
        if self.curve and step.epoch <= self.curve[-1]["epoch"]:
            return
        self.curve.append({"epoch": int(step.epoch), "value": float(value)})
        if self.reported:
            self.trial.report(float(value), int(step.epoch))
        if self.on_epoch is not None:
            self.on_epoch(self.curve)
        if self.reported and self.may_prune and self.trial.should_prune():
            raise optuna.TrialPruned(f"After {step.epoch} passes it was behind the other trials.")
