"""The same network without meta-learning: trained on all users together, then fine-tuned to a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import Source
from ._base import MetaRecommender

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class FineTuned(MetaRecommender):
    """Joint training and fine-tuning: what meta-learning has to beat.

    The start is trained on the items to be found as it is, before any step; a new user's network takes the same steps as elsewhere.
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

    def _lesson(self, losses: TaskLosses, tasks: Task) -> tuple[Tensor, Tensor]:
        from torch.func import vmap

        def both(task: Task) -> tuple[Tensor, Tensor]:
            return losses.query(losses.start, task), losses.support(losses.start, task)

        query, support = vmap(both, randomness="different")(tasks)
        return query.mean(), support
