"""ANIL: only the last layer becomes a user's own; what is below it is learnt once for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import Source
from ._base import MetaRecommender

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class ANIL(MetaRecommender):
    """Almost no inner loop: the head alone adapts.

    Source: Raghu, Raghu, Bengio, Vinyals 2020, Rapid Learning or Feature Reuse?, https://arxiv.org/abs/1909.09157, section 4.
    Differs: as `maml`; the head is the last fully connected layer, the linear one beside it and the taste vector.
    Cost: below `maml`, since what is read is not adapted.
    """

    key = "anil"
    label = "ANIL"
    summary = "For fast adaptation: only the last layer becomes the user's own, which is often as good as adapting all."
    source = Source("Raghu, Raghu, Bengio, Vinyals: Rapid Learning or Feature Reuse? (2020)", "https://arxiv.org/abs/1909.09157")
    adapted = ("outside", "straight", "taste")

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        from ...nn.meta.outer import post_adaptation

        query, _ = post_adaptation(
            losses.support, losses.query, losses.start, tasks, steps=self.resolved.inner_steps, rates=losses.rates(), second_order=True
        )
        return query.mean()
