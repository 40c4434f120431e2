"""What an accuracy–diversity curve is asked for with, and the content hash by which it is recognised."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from .. import registry
from ..errors import ParamError
from ..evaluation.tradeoff import STRENGTHS, reranker
from ..rerank._base import DEPTH
from .spec import JobSpec, digest, first_problem


class DiversitySpec(BaseModel):
    """run: id. method: key of a re-ranker; params: its settings without strength. k: length of the lists; depth: candidates
    they are made from; strengths: points of the curve (a method without a strength has two: off and on)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    method: str
    params: dict[str, Any] = {}
    k: int = 10
    depth: int = DEPTH
    strengths: tuple[float, ...] = ()

    @classmethod
    def make(cls, **values: Any) -> DiversitySpec:
        """Checked and spelled out, with ParamError in words: the same question always gives the same spec."""
        try:
            spec = cls(**values)
        except ValidationError as error:
            raise ParamError(first_problem(error)) from None
        if not 1 <= spec.k <= spec.depth <= 1000:
            raise ParamError(f"The list length k must be from 1 to the depth, and the depth at most 1000; got {spec.k} and {spec.depth}.")
        wrong = [s for s in spec.strengths if not 0 <= s <= 1]
        if wrong:
            raise ParamError(f"Strengths must be numbers from 0 to 1; got {wrong[0]:g}.")
        method = registry.get("reranker", spec.method)
        params = reranker(spec.method, {n: v for n, v in spec.params.items() if n != "strength"}).params.model_dump(mode="json")
        params.pop("strength", None)
        strengths = tuple(sorted(set(spec.strengths))) if spec.strengths else STRENGTHS if method.has_strength() else (0.0, 1.0)
        return spec.model_copy(update={"params": params, "strengths": strengths})

    @property
    def analysis_id(self) -> str:
        return digest({"kind": "diversity"} | self.model_dump(mode="json"))

    def job(self, run_name: str = "") -> JobSpec:
        """The job that works it out; the same question is the same job."""
        title = f"{registry.get('reranker', self.method).label}: accuracy and diversity of {run_name or self.run}"
        return JobSpec(kind="diversity", payload=self.model_dump(mode="json"), title=title, key=self.analysis_id)
