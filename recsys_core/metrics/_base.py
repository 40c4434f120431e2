"""The contract of a metric: it reads top-k lists and truth, never a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

if TYPE_CHECKING:
    from ._lists import Lists

Kind = Literal["accuracy", "beyond", "rating"]


class Metric(ABC):
    """One metric. Class attributes describe it for tables, docs and help texts; nothing is stored.

    kind: "accuracy" (are the hits there), "beyond" (what else the lists are like) or "rating" (predicted
    values). per_user: it gives one value a user (else one for the whole set of lists). range: (lowest,
    highest), None = no bound. formula: plain text.
    """

    key: ClassVar[str]
    label: ClassVar[str]
    help: ClassVar[str]  # one or two plain sentences for an analyst
    formula: ClassVar[str]
    kind: ClassVar[Kind] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    per_user: ClassVar[bool] = True
    range: ClassVar[tuple[float, float | None]] = (0.0, 1.0)
    unit: ClassVar[str] = ""


class ListMetric(Metric):
    """One value a user from the first k of every list."""

    @abstractmethod
    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        """float (B,), NaN where it is not defined."""


class SetMetric(Metric):
    """One value for all lists together."""

    per_user = False

    @abstractmethod
    def of_all(self, lists: Lists, k: int) -> float:
        """A number; NaN where it is not defined."""


class RatingMetric(Metric):
    """One value from predicted and held-out ratings, where a model predicts ratings."""

    kind = "rating"
    higher_is_better = False
    per_user = False
    range = (0.0, None)
    unit = "rating points"

    @abstractmethod
    def of_ratings(self, predicted: np.ndarray, actual: np.ndarray) -> float:
        """predicted, actual: float (n,)."""
