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
    Differs: the batches of a task's steps are the items shown (each told from the others), then those to be found. What items are like is
    shared; it learns from the loss on the items to be found, at the weights adapted to those shown. The steps' sizes stay as given.
    Cost: 2 · adaptation steps + 1 losses forward and backward; no graph of the steps is kept.
    """

    key = "reptile"
    label = "Reptile"
    summary = "Simple and light in memory: moves the start towards where adaptation to each user ends."
    source = Source("Nichol, Achiam, Schulman: On First-Order Meta-Learning Algorithms (2018)", "https://arxiv.org/abs/1803.02999")

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        from ...nn.meta.outer import adapted_weights, towards

        held, how = losses.held(), {"steps": self.resolved.inner_steps, "rates": losses.rates()}
        shown = adapted_weights(held.support, losses.start, tasks, **how)
        found = adapted_weights(held.query, shown, tasks, **how, each=True)
        return losses.queries(shown, tasks) + towards(losses.start, found)
