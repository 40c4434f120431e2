"""Reptile: the start moves towards the weights that adaptation to each user leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._base import Source
from ._base import MetaRecommender

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class Reptile(MetaRecommender):
    """Reptile.

    Source: Nichol, Achiam, Schulman 2018, On First-Order Meta-Learning Algorithms, https://arxiv.org/abs/1803.02999, algorithm 2.
    Differs: while learning, a user's network adapts to all of their items (those shown, each told from the others, and those to be found);
    what items are like is shared and learns from the adapted networks. The steps' sizes stay as given.
    Cost: adaptation steps + 1 losses forward and backward; no graph of the steps is kept.
    """

    key = "reptile"
    label = "Reptile"
    summary = "Simple and light in memory: moves the start towards where adaptation to each user ends."
    source = Source("Nichol, Achiam, Schulman: On First-Order Meta-Learning Algorithms (2018)", "https://arxiv.org/abs/1803.02999")

    def _lesson(self, losses: TaskLosses, tasks: Task) -> tuple[Tensor, Tensor]:
        from ...nn.meta.outer import reptile

        loss, _ = reptile(losses.whole, losses.start, tasks, steps=self.resolved.inner_steps, rates=losses.rates())
        return loss, loss[None].detach()
