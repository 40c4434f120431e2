"""What the Tune page reads from a study: trials in words and numbers, what differs from the defaults, the run of a trial. Draws nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from recsys_core import registry
from recsys_core.errors import NotFound
from recsys_core.evaluation import higher_is_better, metric_label
from recsys_core.jobs import TrainSpec
from recsys_core.params import ParamField, fields

from .text import count, number, score

STATES = {"complete": "Complete", "pruned": "Stopped early", "failed": "Failed", "again": "Cut off", "running": "Running"}
HARDLY = 1e-12

Trial = Mapping[str, Any]


@dataclass(frozen=True)
class View:
    """A study as it is drawn: read once, so that all parts of the page speak of the same trials."""

    id: str
    name: str
    spec: Mapping[str, Any]
    trials: tuple[Trial, ...]
    best: Trial | None
    front: tuple[int, ...]
    importance: Mapping[str, float]
    notes: tuple[str, ...]
    space: tuple[Mapping[str, Any], ...] = ()  # what was searched, as the core writes it down
    n_combinations: int | None = None  # of a grid

    @classmethod
    def of(cls, study: Any) -> View:
        """From a StudyEntry. The best trial has a value and all its settings; one that is half-written is none."""
        trials = tuple(study.trials())
        best = study.best
        front = tuple(n for n in study.front if any(t["number"] == n and t.get("values") for t in trials))
        ready = best if best is not None and best.get("values") else None
        space, most = tuple(study.manifest.get("space") or ()), study.manifest.get("n_combinations")
        return cls(study.id, study.name, study.spec, trials, ready, front, study.importance, tuple(study.notes), space, most)

    # ---- what was asked --------------------------------------------------------------------------
    @property
    def model_key(self) -> str:
        return str(self.spec.get("train", {}).get("model", ""))

    @cached_property
    def model(self) -> Any:
        """The plug-in; None when this installation has it no more."""
        try:
            return registry.get("model", self.model_key)
        except NotFound:
            return None

    @property
    def model_label(self) -> str:
        return self.model.label if self.model is not None else self.model_key

    @cached_property
    def objectives(self) -> tuple[str, ...]:
        return tuple(self.spec.get("objectives", ()))

    @cached_property
    def fields(self) -> dict[str, ParamField]:
        return {f.name: f for f in fields(self.model.Params)} if self.model is not None else {}

    def label(self, name: str) -> str:
        """A setting by its label."""
        return self.fields[name].label if name in self.fields else name.replace("_", " ").capitalize()

    def said(self, name: str, value: Any) -> str:
        """A setting's value as people read it, an option by its name."""
        field = self.fields.get(name)
        return field.option(value) if field and isinstance(value, str) and value in field.choices else plain(value)

    def scale(self, name: str) -> str:
        """ "log" or "linear": how a setting was searched."""
        row = next((row for row in self.space if row.get("name") == name), None)
        field = self.fields.get(name)
        return str(row.get("scale")) if row else field.tune[2] if field and field.tune else "linear"

    # ---- trials ----------------------------------------------------------------------------------
    def trial(self, number_: int | None) -> Trial | None:
        return next((t for t in self.trials if t["number"] == number_), None)

    @cached_property
    def complete(self) -> list[Trial]:
        """Trials with a value."""
        return [t for t in self.trials if t["state"] == "complete" and usable(t, len(self.objectives))]

    @property
    def defaults(self) -> Trial | None:
        """Trial 0, once it has a value."""
        return next((t for t in self.complete if t["number"] == 0), None)

    @cached_property
    def searched(self) -> list[str]:
        """Names of what was varied, the most important first, then in order of appearance."""
        seen = list(dict.fromkeys(name for t in self.trials for name in t.get("params", {})))
        return sorted(seen, key=lambda name: -self.importance.get(name, 0.0))

    def tally(self) -> str:
        """ "12 complete, 3 stopped early, 1 failed"."""
        parts = [(sum(state_of(t) == state for t in self.trials), word) for state, word in STATES.items()]
        return ", ".join(f"{n} {word.lower()}" for n, word in parts if n)


def state_of(trial: Trial) -> str:
    """Its state; "again" of one that was cut off and is tried again when the search goes on."""
    return "again" if trial["state"] == "failed" and trial.get("again") else str(trial["state"])


def usable(trial: Trial, n: int) -> bool:
    values = trial.get("values")
    return bool(values) and len(values) == n and all(v is not None and math.isfinite(v) for v in values)


# ---- in words --------------------------------------------------------------------------------------
def figure(value: float | None, metric: str) -> str:
    """A value of a metric: four decimals where it is bounded by 1."""
    try:
        bounded = registry.get("metric", metric.partition("@")[0]).range[1] is not None
    except NotFound:
        bounded = True
    return score(value) if bounded else number(value, 4)


def plain(value: Any) -> str:
    """A setting's value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if value is None:
        return "not set"
    return value.replace("_", " ") if isinstance(value, str) else json.dumps(value)


def gain(value: float, base: float) -> str:
    """ "+7.2 %" of the base; "" where there is none to speak of."""
    if not base or not math.isfinite(base) or not math.isfinite(value):
        return ""
    change = 100 * (value - base) / abs(base)
    digits = 0 if abs(change) >= 10 else 1
    return f"{change:+.{digits}f} %" if round(change, digits) else "no difference"


def verdict(view: View, trial: Trial) -> str:
    """ "NDCG@20 0.4310 on validation, defaults 0.4020 (+7.2 %)"; of two objectives both."""
    told = []
    for n, metric in enumerate(view.objectives):
        text = f"{metric_label(metric)} {figure(trial['values'][n], metric)}"
        told.append(text + (" on validation" if n == 0 else ""))
    text = " and ".join(told)
    base = view.defaults
    if base is None:
        return text
    if base["number"] == trial["number"]:
        return f"{text}, with the defaults"
    beside = [
        f"{figure(base['values'][n], metric)} ({gain(trial['values'][n], base['values'][n]) or 'no base'})"
        for n, metric in enumerate(view.objectives)
    ]
    return f"{text}, defaults {' and '.join(beside)}"


def best_so_far(view: View) -> list[tuple[int, float]]:
    """(trial, best first objective up to it), over complete trials in order."""
    metric = view.objectives[0]
    pick = max if higher_is_better(metric) else min
    out: list[tuple[int, float]] = []
    for trial in view.complete:
        value = float(trial["values"][0])
        out.append((trial["number"], pick(value, out[-1][1]) if out else value))
    return out


def does_it_pay(view: View) -> str:
    """When the best was found, and how many came since without being better."""
    done = view.complete
    if not done or view.best is None:
        return ""
    at = view.best["number"]
    since = sum(1 for t in view.trials if t["number"] > at and t["state"] in ("complete", "pruned"))
    value = figure(view.best["values"][0], view.objectives[0])
    found = f"The best, {value}, came with trial {at}" + (" (the defaults)" if at == 0 else "")
    if not since:
        return f"{found}, the newest." if len(done) > 1 else f"{found}."
    return f"{found}; {'the one' if since == 1 else f'none of the {since}'} since was {'not ' if since == 1 else ''}better."


# ---- settings --------------------------------------------------------------------------------------
def settings_of(view: View, trial: Trial) -> dict[str, Any]:
    """All that a trial set: what was fixed and what was tried."""
    return dict(view.spec.get("train", {}).get("params", {})) | dict(trial.get("params", {}))


def differing(view: View, trial: Trial) -> list[tuple[str, Any, Any]]:
    """(name, value of trial 0, value of this one) of the settings that are not as in trial 0."""
    first = view.trial(0) or {"params": {}}
    defaults = {name: field.default for name, field in view.fields.items()}
    base = defaults | settings_of(view, first)
    return [(name, base.get(name), value) for name, value in settings_of(view, trial).items() if not same(base.get(name), value)]


def same(a: Any, b: Any) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=HARDLY) if numbers else a == b


def train_spec(view: View, trial: Trial) -> TrainSpec:
    """The run that trains with the settings of a trial: the study's data and split, so it is comparable with what is there."""
    common = dict(view.spec["train"])
    named = f"{view.model_label}, tuned" if trial["number"] else ""
    return TrainSpec.make(**(common | {"params": settings_of(view, trial), "name": named}))


def table(view: View) -> pd.DataFrame:
    """One row a trial: number, each objective, what was tried, seconds, state, why it failed."""
    rows = []
    for trial in view.trials:
        row: dict[str, Any] = {"number": trial["number"], "state": STATES.get(state_of(trial), state_of(trial))}
        for n, metric in enumerate(view.objectives):
            row[metric] = trial["values"][n] if usable(trial, len(view.objectives)) else None
        row |= {f"param:{name}": trial.get("params", {}).get(name) for name in view.searched}
        row |= {"seconds": trial.get("seconds"), "reason": trial.get("reason") or ""}
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in frame.columns:
        if name.startswith("param:") and not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = [None if v is None else view.said(name.removeprefix("param:"), v) for v in frame[name]]
    return frame


def table_csv(view: View) -> str:
    """The same for a spreadsheet; no cell can become a formula."""
    from recsys_core.store.spreadsheet import safe_frame

    frame = table(view)
    return safe_frame(frame.rename(columns={name: name.removeprefix("param:") for name in frame.columns})).to_csv(index=False)


def failures(trials: Sequence[Trial]) -> list[str]:
    """Why trials failed, each reason once: "Trials 3 and 7: …"."""
    by_reason: dict[str, list[int]] = {}
    for trial in trials:
        if state_of(trial) == "failed":
            by_reason.setdefault(str(trial.get("reason") or "No reason was written down."), []).append(trial["number"])
    return [f"{_numbers(numbers)}: {reason}" for reason, numbers in by_reason.items()]


def _numbers(numbers: Sequence[int]) -> str:
    if len(numbers) > 6:
        return count(len(numbers), "trial")
    return f"Trial {numbers[0]}" if len(numbers) == 1 else f"Trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
