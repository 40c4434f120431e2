"""MAML: the start from which a few steps on a user's items go furthest, found by differentiating through the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import Source
from ._base import MetaRecommender

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class MAML(MetaRecommender):
    """Model-agnostic meta-learning, of second order.

    Source: Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, https://arxiv.org/abs/1703.03400,
    algorithm 1; step sizes for each layer: Li, Zhou, Chen, Li 2017, Meta-SGD, https://arxiv.org/abs/1707.09835.
    Differs: items' vectors are shared and do not adapt; an item shown is told from the others shown, since they are read too; the common
    step size is learnt unless it is fixed.
    Cost: a step is about 2 · (adaptation steps + 1) losses forward and backward of all tasks at once.
    """

    key = "maml"
    label = "MAML"
    summary = "For lists that are good after a few clicks: learns the start from which a few steps on a new user's items lead furthest."
    source = Source(
        "Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (2017)", "https://arxiv.org/abs/1703.03400"
    )

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        from ...nn.meta.outer import post_adaptation

        steps = self.resolved.inner_steps
        query, _ = post_adaptation(
            losses.support,
            losses.query,
            losses.start,
            tasks,
            steps=steps,
            rates=losses.rates(),
            second_order=True,
        )
        return query.mean()
