"""What a search aims at: a metric at a list length, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import registry
from ..errors import ParamError
from ..metrics._base import RatingMetric


@dataclass(frozen=True)
class Objective:
    """name: as it was asked for, "ndcg@20". k: length of the lists; 0 for a metric of ratings, which has none."""

    name: str
    key: str
    k: int
    label: str
    kind: str
    higher_is_better: bool

    @property
    def direction(self) -> str:
        """The word Optuna has for it."""
        return "maximize" if self.higher_is_better else "minimize"


def objective_of(name: str) -> Objective:
    """Read "ndcg@20" or "rmse". Raises NotFound for an unknown metric, ParamError for a k that is missing or out of bounds."""
    key, at, k = str(name).strip().partition("@")
    metric = registry.get("metric", key)
    if issubclass(metric, RatingMetric):
        if at:
            raise ParamError(f"{metric.label} is measured on ratings, not on lists; got '{name}'.", f"Write {key}.")
        return _objective(name, metric, 0, metric.label)
    if not k.isdigit() or not 1 <= int(k) <= 1000:
        raise ParamError(f"An objective must name a list length from 1 to 1000, as in {key}@20; got '{name}'.")
    return _objective(name, metric, int(k), f"{metric.label}@{int(k)}")


def _objective(name: str, metric: Any, k: int, label: str) -> Objective:
    return Objective(str(name).strip(), metric.key, k, label, metric.kind, metric.higher_is_better)
