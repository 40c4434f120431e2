"""What a search for better settings is asked to do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from .. import registry
from ..errors import NotFound, ParamError
from ..store.findings import StudyEntry
from .spec import JobSpec, TrainSpec, digest, first_problem

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["none", "median", "halving"]


class TuneSpec(BaseModel):
    """A study: one model, one split, some of its parameters searched over.

    train: what every trial has in common (dataset, split, model, params that stay fixed, seed). space: name -> [low, high] or the
    list of values to try; {} = every parameter with a declared range. objectives: one metric, or two (accuracy, then what it is
    weighed against). n_trials, minutes: the budget, whichever ends first (0 = no limit; not both 0). workers: processes at once.
    Budget, workers and name do not make it another study: asked again with a larger budget it goes on where it stopped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: TrainSpec
    space: dict[str, list[Any]] = {}
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    objectives: tuple[str, ...] = ("ndcg@20",)
    n_trials: int = 20
    minutes: float = 0.0
    workers: int = 1
    name: str = ""

    @field_validator("objectives")
    @classmethod
    def _objectives(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        if not 1 <= len(objectives) <= 2 or len(set(objectives)) < len(objectives):
            raise ValueError(f"objectives must be one metric or two different ones; got {list(objectives)}")
        return objectives

    @field_validator("n_trials", "minutes", "workers")
    @classmethod
    def _not_negative(cls, value: float, info: Any) -> float:
        low, high = {"n_trials": (0, 10_000), "minutes": (0, 10_080), "workers": (1, 64)}[info.field_name]
        if not low <= value <= high:
            raise ValueError(f"{info.field_name} must be from {low} to {high:,}; got {value:g}")
        return value

    @classmethod
    def make(cls, **values: Any) -> TuneSpec:
        """A spec, with ParamError (rule and value) instead of pydantic's own error."""
        try:
            spec = cls(**values)
        except ValidationError as error:
            raise ParamError(first_problem(error)) from None
        if not spec.n_trials and not spec.minutes:
            raise ParamError("A study needs a budget: n_trials and minutes are both 0.", "Give a number of trials, or minutes.")
        return spec

    @property
    def study_id(self) -> str:
        """Content hash, 16 hex."""
        return digest(
            {
                "split": self.train.split_id,
                "model": self.train.model,
                "params": self.train.model_params().model_dump(mode="json"),
                "seed": self.train.seed,
                "space": self.space,
                "sampler": self.sampler,
                "pruner": self.pruner,
                "objectives": list(self.objectives),
            }
            | ({"features": self.train.features} if self.train.features else {})
        )

    @property
    def title(self) -> str:
        return self.name or f"Tune {TrainSpec(dataset=self.train.dataset, model=self.train.model).title}"

    def job(self) -> JobSpec:
        """The job that searches. Its result: {"study": id}."""
        return JobSpec(kind="tune", payload=self.model_dump(mode="json"), title=self.title, key=self.study_id, threads=self.train.threads)


def best_spec(study: StudyEntry, number: int | None = None) -> TrainSpec:
    """The training of the winner: the settings that stayed fixed and those of the best trial, or of the trial of that number.

    Its test figure is the first one there is: the search saw validation only. Raises NotFound where no such trial is complete.
    """
    spec = TuneSpec(**study.spec)
    complete = {t["number"]: t for t in study.trials() if t["state"] == "complete"}
    trial = study.best if number is None else complete.get(number)
    if trial is None:
        which = "no trial" if number is None else f"trial {number} is not one that"
        raise NotFound(f"Of '{study.name}' {which} has finished.", "Wait for the first, or give the search more time.")
    label = registry.get("model", spec.train.model).label
    ks = {int(name.partition("@")[2]) for name in spec.objectives if "@" in name}
    changes = {"params": spec.train.params | trial["params"], "name": f"{label} (tuned)", "ks": tuple(sorted({*spec.train.ks, *ks}))}
    return spec.train.model_copy(update=changes)
