"""What a training has come to, read from the record of its passes: phases, the best pass, where it went on. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median
from typing import Any

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.evaluation import higher_is_better, metric_label

from .text import number

VALIDATED, ALL, ONLY = "with validation", "on all training data", ""  # phases, as `jobs.training.fit` names them
SAID = {VALIDATED: "With validation", ALL: "On all training data", ONLY: "Training"}
NOT_A_MEASURE = ("stage", "epoch", "at", "seconds", "learning_rate", "samples_per_second", "replayed")
LATELY = 10  # passes that "lately" looks back over
HARDLY = 0.001  # a smaller relative change of the loss is none

Series = tuple[list[int], list[float]]  # passes, values


@dataclass
class Phase:
    """One fit: with validation, or on all training data. values: measure -> (passes, values).

    went_on: the last pass of an earlier attempt that this one went on from, 0 = none."""

    kind: str
    passes: list[int] = field(default_factory=list)
    values: dict[str, Series] = field(default_factory=dict)
    went_on: int = 0

    def series(self, name: str) -> Series:
        return self.values.get(name, ([], []))


@dataclass
class Story:
    """All phases of one model. part: which fold or which part of a fusion, "" where there is only one."""

    part: str
    phases: list[Phase] = field(default_factory=list)

    @property
    def loss(self) -> str:
        """The measure the network learns by: "loss", else one that is taken on training data."""
        return next((name for phase in self.phases for name in phase.values if is_loss(name)), "loss")

    @property
    def metric(self) -> str:
        """The measure taken on validation data, "" where none is."""
        return next((name for phase in self.phases for name in phase.values if is_validation(name)), "")

    @property
    def validated(self) -> Series:
        """The validation measure, pass by pass."""
        return next((phase.series(self.metric) for phase in self.phases if self.metric in phase.values), ([], []))

    @property
    def best(self) -> tuple[int, float] | None:
        """(pass, value) of the best validation result; the earliest of equal ones, which is the one that is kept."""
        passes, values = self.validated
        if not values:
            return None
        at = values.index(max(values) if higher_is_better(self.metric) else min(values))
        return passes[at], values[at]

    @property
    def speed(self) -> float | None:
        """Samples a second, in the usual pass."""
        speeds = [value for phase in self.phases for value in phase.series("samples_per_second")[1]]
        return median(speeds) if speeds else None


def stories(steps: Sequence[Mapping[str, Any]]) -> list[Story]:
    """The passes of a job's curve or a run's history, by what was trained, in the order it was."""
    found: dict[str, dict[str, Phase]] = {}
    for step in steps:
        part, kind = place(str(step.get("stage", "")))
        phase = found.setdefault(part, {}).setdefault(kind, Phase(kind))
        epoch = int(step["epoch"])
        phase.passes.append(epoch)
        if step.get("replayed"):
            phase.went_on = max(phase.went_on, epoch)
        for name, value in step.items():
            if is_number(value) and name not in ("epoch", "at", "seconds"):
                xs, ys = phase.values.setdefault(name, ([], []))
                xs.append(epoch)
                ys.append(float(value))
    return [Story(part, list(phases.values())) for part, phases in found.items()]


@lru_cache(maxsize=1024)
def place(stage: str) -> tuple[str, str]:
    """(part, phase) of a stage: "Fold 2 of 5: Fitting: with validation: training" -> ("Fold 2 of 5", "with validation")."""
    pieces = stage.split(": ")
    kind = next((piece for piece in pieces if piece in (VALIDATED, ALL)), ONLY)
    around = [piece for piece in pieces[:-1] if piece not in ("Fitting", VALIDATED, ALL)]
    return ", ".join(map(_label, around)), kind


def _label(piece: str) -> str:
    """A part of a fusion is named by its key."""
    try:
        return registry.get("model", piece).label
    except NotFound:
        return piece


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_loss(name: str) -> bool:
    return name == "loss" or name.startswith("train_")


def is_validation(name: str) -> bool:
    return bool(name) and name not in NOT_A_MEASURE and not is_loss(name)


def measure_label(name: str) -> str:
    """ "ndcg@20" -> "NDCG@20", "train_rmse" -> "RMSE in training"."""
    if name.startswith("train_"):
        return f"{metric_label(name.removeprefix('train_'))} in training"
    label = metric_label(name)
    return label if label != name else name.replace("_", " ").capitalize()


# ---- in words --------------------------------------------------------------------------------------
def still_learning(story: Story) -> str:
    """How the loss moved lately, in the newest phase that has two passes."""
    for phase in reversed(story.phases):
        values = phase.series(story.loss)[1]
        if len(values) > 1:
            back = min(LATELY, len(values) - 1)
            before, now = values[-1 - back], values[-1]
            since = f"over the last {back} passes" if back > 1 else "since the pass before"
            change = (now - before) / abs(before) if before else 0.0
            if abs(change) < HARDLY:
                return f"The {_noun(story)} hardly changed {since}."
            return f"The {_noun(story)} {'fell' if change < 0 else 'rose'} by {number(100 * abs(change), 2)} % {since}."
    return ""


def _noun(story: Story) -> str:
    return "loss" if story.loss == "loss" else measure_label(story.loss)


def lists_better(story: Story) -> str:
    """Which pass was best, and how many came since without being better."""
    if story.best is None:
        return ""
    at, value = story.best
    since = sum(1 for n in story.validated[0] if n > at)
    tail = f"No better in the {since} since." if since > 1 else "Not better in the one since." if since else "It is the newest."
    return f"Best at pass {at}: {measure_label(story.metric)} {value:.4f}. {tail}"


def step_sizes(story: Story) -> str:
    rates = [value for phase in story.phases for value in phase.series("learning_rate")[1]]
    if not rates:
        return ""
    if max(rates) - min(rates) <= 1e-9 * max(rates):
        return f"{number(rates[0])} in every pass."
    top = f"; at most {number(max(rates))}" if max(rates) > max(rates[0], rates[-1]) else ""
    return f"From {number(rates[0])} to {number(rates[-1])}{top}."


def went_on(story: Story) -> str:
    """From which pass a training went on that had been stopped; "" when it was not."""
    phase = next((phase for phase in reversed(story.phases) if phase.went_on), None)
    if phase is None:
        return ""
    where = {VALIDATED: " of the first training", ALL: " of the second training"}.get(phase.kind, "")
    return f"Went on after pass {phase.went_on}{where}; what came before was kept from the earlier attempt."
