"""One trial: fit on the fit part of training, measure on the validation part. There is no test here to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..context import RunContext
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..errors import Unsupported
from ..metrics import Catalog, evaluate
from ..params import Params
from .objective import Objective


@dataclass(frozen=True)
class Task:
    """What every trial of a study has in common.

    part: what trials are fitted on; validation: what they are judged on; both are cut from training. A model that stops early or
    learns weights does so on the same validation, so its figure there is a little kind to it; that is the same for all trials,
    and the winner is judged anew on the test when it is trained.
    """

    model: Any
    part: Dataset
    validation: Holdout
    objectives: tuple[Objective, ...]

    def require(self) -> None:
        """Raise Unsupported where the objectives cannot be measured on this data, or the model cannot run on it."""
        missing = self.model.card().missing(self.part.stats)
        if missing:
            raise Unsupported(f"{self.model.label} {' and '.join(missing)}; this dataset has none.", "Choose another model.")
        if len(self.part) == 0 or len(self.validation.users) == 0:
            raise Unsupported("No validation part could be cut from the training part.", "Use more data or another split.")
        for aim in self.objectives:
            if aim.k == 0 and (self.part.feedback != "explicit" or self.validation.cold or not self.model.card().can_rate):
                raise Unsupported(
                    f"{aim.label} needs ratings, a model that predicts them and users known from training.", "Aim at a metric of lists."
                )

    @cached_property
    def catalog(self) -> Catalog:
        """The items as the fit part saw them."""
        return Catalog.from_dataset(self.part)

    def measure(self, params: Params, ctx: RunContext) -> list[float]:
        """Fit and measure: one value for each objective. Raises Unsupported where one is not defined."""
        model = self.model(params)
        model.fit(self.part, ctx, validation=self.validation if model.wants_validation() else None)
        ctx.check()
        top = model.recommend_holdout(self.validation, max([1, *(aim.k for aim in self.objectives)]))
        ratings = None
        if any(aim.k == 0 for aim in self.objectives):
            if not model.predicts_ratings():
                raise Unsupported(f"{model.label} with these settings predicts no ratings.")
            ratings = model.predict_ratings(self.validation.truth.user, self.validation.truth.item)
        values = [self._value(aim, top, ratings) for aim in self.objectives]
        for aim, value in zip(self.objectives, values, strict=True):
            if not math.isfinite(value):
                raise Unsupported(f"{aim.label} is not defined for these lists.")
        return values

    def _value(self, aim: Objective, top: Any, ratings: Any) -> float:
        ks: Sequence[int] = (aim.k or 1,)
        measured = evaluate(top, self.validation, self.catalog, ks, ratings=ratings, metrics=[aim.key])
        return float(measured.means()[f"{aim.key}@{aim.k}" if aim.k else aim.key])
