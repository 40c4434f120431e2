"""The same network without meta-learning: trained on all users together, then fine-tuned to a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...context import RunContext
from ...data.dataset import Dataset
from ...data.holdout import Holdout
from .._base import Source
from ._base import MetaRecommender
from ._params import MetaParams, encoder_param

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


TRIED = (0.0, 0.3, 1.0, 3.0, 10.0)  # times the step size given


class FineTunedParams(MetaParams):
    encoder: Literal["transformer", "mlp"] = encoder_param("transformer")


class FineTuned(MetaRecommender):
    """Joint training and fine-tuning: what meta-learning has to beat.

    The start is trained on the items to be found as it is, before any step; a new user's network takes the same number of steps as
    elsewhere, whose size is the best of several for validation users (or none at all). It reads the items shown by default: the light
    network, trained jointly, tells users apart by their columns alone and has little to be tuned.
    Source: the baseline of Finn et al. 2017, https://arxiv.org/abs/1703.03400, section 5.
    Cost: one loss forward and backward a step.
    """

    key = "fine_tuned"
    label = "Fine-tuned network"
    summary = "The yardstick of the methods here: the same network trained on all users at once, then fine-tuned to the new one."
    source = Source(
        "Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (2017), section 5",
        "https://arxiv.org/abs/1703.03400",
    )
    Params = FineTunedParams

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        super()._fit(data, ctx, validation)
        if validation is None or not len(validation.users) or not validation.cold:
            return
        given, scores = self.resolved, []
        for times in TRIED:
            ctx.check()
            self._take_steps(given, times)
            scores.append(self._validation_score(validation))
        sign = 1 if self._validation_metric(validation)[1] else -1
        best = max(range(len(TRIED)), key=lambda n: sign * scores[n])
        self._take_steps(given, TRIED[best])
        self.notes.append(
            f"Of {len(TRIED)} sizes of fine-tuning steps the best for validation users is {TRIED[best]:g} times the one given."
        )

    def _take_steps(self, given: MetaParams, times: float) -> None:
        steps = {"inner_steps": 0} if times == 0 else {"inner_rate": given.inner_rate * times}
        self.resolved = given.with_(**steps)
        self._ready()

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        return losses.before(tasks)
