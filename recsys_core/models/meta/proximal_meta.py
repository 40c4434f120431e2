"""Proximal meta-learning: adaptation is held near the start, and the start moves towards what was adapted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...params import param
from .._base import Source
from ._base import MetaRecommender
from ._params import ADAPTING, MetaParams

if TYPE_CHECKING:
    from torch import Tensor

    from ._losses import TaskLosses
    from ._network import Task


class ProximalParams(MetaParams):
    gradient: Literal["towards", "implicit"] = param(
        "towards",
        label="How the start learns",
        help="towards: it moves towards the adapted weights; implicit: by how the loss on the items to be found depends on it.",
    )
    anchor: float = param(
        0.5,
        gt=0,
        le=1000,
        label="Hold to the start",
        help="How strongly adaptation is held near the start: weight of half the squared distance.",
        tune=(0.05, 5.0, "log"),
        group=ADAPTING,
    )
    solver_steps: int = param(
        5, ge=1, le=100, label="Solver steps", help="Steps of conjugate gradients for the implicit form.", advanced=True, group=ADAPTING
    )


class ProximalMeta(MetaRecommender):
    """Meta-MinibatchProx, or with the implicit gradient iMAML.

    towards: minimise the mean over users of min_w loss(w) + anchor / 2 · ‖w − w0‖², whose gradient is anchor · (w0 − w*).
    implicit: the gradient of the loss on the items to be found at w*, through the condition that w* is a minimum.
    Source: Zhou, Yuan, Xu, Yan, Feng 2019, Efficient Meta Learning via Minibatch Proximal Update, https://papers.nips.cc/paper/8432;
    Rajeswaran, Finn, Kakade, Levine 2019, Meta-Learning with Implicit Gradients, https://arxiv.org/abs/1909.04630.
    Differs: as `reptile`; gradient steps find the minimum, and somebody new adapts with the same anchor.
    Cost: towards as `reptile`; implicit: some second derivatives (`solver_steps`) more, whatever the number of steps.
    """

    key = "proximal_meta"
    label = "Proximal meta-learning"
    summary = "Adapts near a common start, which keeps single clicks from leading astray; memory does not grow with the steps."
    source = Source(
        "Zhou, Yuan, Xu, Yan, Feng: Efficient Meta Learning via Minibatch Proximal Update (2019)",
        "https://papers.nips.cc/paper/8432-efficient-meta-learning-via-minibatch-proximal-update",
    )
    Params = ProximalParams

    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        from ...nn.meta.outer import adapted_weights, implicit, towards

        p = self.resolved
        how = {"steps": p.inner_steps, "rates": losses.rates(), "anchor": p.anchor}
        if p.gradient == "implicit":
            query, _ = implicit(losses.support, losses.query, losses.start, tasks, cg_steps=p.solver_steps, **how)
            return query.mean()
        held = losses.held()
        query = losses.queries(adapted_weights(held.support, losses.start, tasks, **how), tasks)
        return query + towards(losses.start, adapted_weights(held.whole, losses.start, tasks, **how), p.anchor)
