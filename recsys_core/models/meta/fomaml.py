"""First-order MAML: as MAML, looking no further than the network as it is after the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import Source
from ._base import MetaRecommender

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class FOMAML(MetaRecommender):
    """MAML of first order.

    Source: Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, section 5.2; Nichol et al. 2018, https://arxiv.org/abs/1803.02999.
    Differs: as `maml`. The share of trust in the items shown stays as it begins, since no slope reaches it.
    Cost: a step some three quarters of `maml`'s.
    """

    key = "fomaml"
    label = "First-order MAML"
    summary = "As MAML in somewhat less time: ignores how the steps themselves bend, which matters little with few of them."
    source = Source(
        "Finn, Abbeel, Levine: Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (2017)", "https://arxiv.org/abs/1703.03400"
    )

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        from ...nn.meta.outer import post_adaptation

        query, _ = post_adaptation(
            losses.support, losses.query, losses.start, tasks, steps=self.resolved.inner_steps, rates=losses.rates(), second_order=False
        )
        return query.mean()
