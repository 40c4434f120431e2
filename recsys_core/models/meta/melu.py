"""MeLU: the decision layers adapt to a user; what users and items are like is learnt once for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import Source
from ._base import MetaRecommender

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class MeLU(MetaRecommender):
    """Meta-learned user preference estimator.

    Source: Lee, Im, Jang, Cho, Chung 2019, MeLU, https://arxiv.org/abs/1908.00413, section 3.
    Differs: the decision layers make a user's vector that is compared with the items' by product, so that a list covers the whole
    catalogue at once; ranking by softmax, not rating, unless `loss` says so. By default no item shown is read but by the steps (mlp).
    Cost: as `maml` with the light network.
    """

    key = "melu"
    label = "MeLU"
    summary = "The light choice: knows a user by their columns, and its decision layers adapt to the items they show."
    source = Source(
        "Lee, Im, Jang, Cho, Chung: MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation (2019)",
        "https://arxiv.org/abs/1908.00413",
    )
    adapted = ("inside", "outside", "straight", "taste")

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        from ...nn.meta.outer import post_adaptation

        query, _ = post_adaptation(
            losses.support, losses.query, losses.start, tasks, steps=self.resolved.inner_steps, rates=losses.rates(), second_order=True
        )
        return query.mean()
