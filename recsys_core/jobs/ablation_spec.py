"""What an ablation is asked for with, and the content hash by which it is recognised."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from .. import registry
from ..errors import BadInput, ParamError
from ..evaluation.ablation import MODES
from ..store.entries import RunEntry
from ..store.workspace import Workspace
from .spec import JobSpec, TrainSpec, digest, first_problem


class AblationSpec(BaseModel):
    """train: the base (data, split, model, settings, seed, features). run: the result it was taken from, or "".

    axes: parameter -> values; {} = those the model names itself. mode: of `evaluation.ablation.MODES`. seeds: trainings of each variant,
    with the base's seed and those after it; the split stays. part: what variants are judged on. metrics, k: per-user metrics of
    lists. most: different trainings of one seed at most (0 = all). minutes: the time there is (0 = no limit).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: TrainSpec
    run: str = ""
    axes: dict[str, tuple[Any, ...]] = {}
    mode: str = MODES[0]
    seeds: int = 1
    part: Literal["validation", "test"] = "validation"
    metrics: tuple[str, ...] = ("ndcg", "recall")
    k: int = 20
    most: int = 0
    minutes: float = 0.0

    @field_validator("seeds", "k", "most", "minutes")
    @classmethod
    def _bounds(cls, value: float, info: Any) -> float:
        low, high = {"seeds": (1, 10), "k": (1, 1_000), "most": (0, 10_000), "minutes": (0, 10_080)}[info.field_name]
        if not low <= value <= high:
            raise ValueError(f"{info.field_name} must be from {low} to {high:,}; got {value:g}")
        return value

    @classmethod
    def make(cls, **values: Any) -> AblationSpec:
        """Checked, with ParamError in words."""
        try:
            spec = cls(**values)
        except ValidationError as error:
            raise ParamError(first_problem(error)) from None
        if spec.mode not in MODES:
            raise ParamError(f"mode must be one of {', '.join(MODES)}; got '{spec.mode}'.")
        if not spec.metrics:
            raise ParamError("Give at least one metric to judge the variants by; got none.", "For example: ndcg.")
        for key in spec.metrics:
            metric = registry.get("metric", key)
            if not metric.per_user or metric.kind == "rating":
                raise BadInput(
                    f"{metric.label} has no value for each user, so variants cannot be paired by it.", "For example: ndcg, recall."
                )
        return spec.model_copy(update={"metrics": tuple(dict.fromkeys(spec.metrics))})

    @classmethod
    def of_run(cls, run: RunEntry, **values: Any) -> AblationSpec:
        """With a result's data, split, settings, seed and features as the base."""
        return cls.make(train=run.spec, run=run.id, **values)

    def in_ids(self, workspace: Workspace) -> AblationSpec:
        """With ids in place of names, and the dataset's current features where none were named."""
        train = self.train.in_ids(workspace)
        if self.run:
            return self.model_copy(update={"train": train, "run": workspace.run(self.run).id})
        return self.model_copy(update={"train": train.with_features(workspace)})

    @property
    def analysis_id(self) -> str:
        told = self.model_dump(mode="json", exclude={"train": {"ks", "keep_top", "name", "threads"}})
        return digest({"kind": "ablation"} | told)

    @property
    def title(self) -> str:
        return f"Ablation of {self.train.title}"[:120]

    def job(self) -> JobSpec:
        """The job that does it; the same question is the same job. Its result: {"analysis": id}."""
        return JobSpec(
            kind="ablation", payload=self.model_dump(mode="json"), title=self.title, key=self.analysis_id, threads=self.train.threads
        )
