"""What a robustness check is asked for with, and the content hash by which it is recognised."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

from .. import registry
from ..errors import BadInput, ParamError
from ..evaluation.robustness import DAMAGES, SHARES
from .spec import JobSpec, digest, first_problem


class RobustnessSpec(BaseModel):
    """run: id. kinds: of damage; shares: of the training interactions; k, metrics: what is measured (per-user metrics); seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    kinds: tuple[str, ...] = tuple(DAMAGES)
    shares: tuple[float, ...] = SHARES
    k: int = 10
    metrics: tuple[str, ...] = ("ndcg", "recall")
    seed: int = 42

    @classmethod
    def make(cls, **values: object) -> RobustnessSpec:
        """Checked, in one order, with ParamError in words: the same question always gives the same spec."""
        try:
            spec = cls(**values)
        except ValidationError as error:
            raise ParamError(first_problem(error)) from None
        unknown = [kind for kind in spec.kinds if kind not in DAMAGES]
        if unknown or not spec.kinds:
            raise ParamError(f"kinds must be some of {', '.join(DAMAGES)}; got {', '.join(unknown) or 'none'}.")
        if not spec.shares or not all(0 < share <= 0.9 for share in spec.shares):
            raise ParamError(f"shares must be above 0 and at most .9; got {', '.join(f'{s:g}' for s in spec.shares) or 'none'}.")
        if not 1 <= spec.k <= 1000:
            raise ParamError(f"The list length k must be from 1 to 1000; got {spec.k}.")
        for key in spec.metrics:
            metric = registry.get("metric", key)
            if not metric.per_user or metric.kind == "rating":
                raise BadInput(f"{metric.label} has no value for each user, so it cannot be followed here.", "For example: ndcg, recall.")
        kinds = tuple(kind for kind in DAMAGES if kind in spec.kinds)
        metrics = tuple(dict.fromkeys(spec.metrics))
        return spec.model_copy(update={"kinds": kinds, "shares": tuple(sorted(set(spec.shares))), "metrics": metrics})

    @property
    def analysis_id(self) -> str:
        return digest({"kind": "robustness"} | self.model_dump(mode="json"))

    def job(self, run_name: str = "") -> JobSpec:
        """The job that does it; the same question is the same job."""
        title = f"Robustness of {run_name or self.run}"
        return JobSpec(kind="robustness", payload=self.model_dump(mode="json"), title=title, key=self.analysis_id)
