"""A network that adapts in a form that runs without torch: item vectors as they are, the core's weights one after another.

What adapts is small, so its gradient is a few products that numpy does: no graph has to be made of the steps, and a history costs what
its own length takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._portable import Portable

if TYPE_CHECKING:
    from ...context import RunContext
    from ...data.dataset import Dataset
    from ._base import MetaRecommender


class Bundled:
    """The part of a model that adapts which a bundle is made of, and a newer one."""

    def _portable(self: Any) -> Portable:
        return pack(self)

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        """What was learnt stays: lists are adapted to the histories as they are now. Users who came later have no columns."""


def pack(model: MetaRecommender) -> Portable:
    import torch

    network, world, p = model.network, model._world, model.resolved
    core = {name: weight.detach().cpu().numpy().astype(np.float32) for name, weight in network.core.named_parameters()}
    with torch.no_grad():
        sizes = model._losses.rates()
        rates = {name: float(sizes[name] if isinstance(sizes, dict) else sizes) for name in network.adapted}
    settings: dict[str, Any] = {
        "threshold": None if model._ratings else model.fitted.threshold,
        "history": p.history,
        "steps": p.inner_steps,
        "anchor": float(getattr(p, "anchor", 0.0)),
        "trust": float(network.log_trust.detach().exp()),
        "ratings": model._ratings,
        "mean": model._mean,
        "spread": model._spread,
        "blocks": len(network.core.blocks),
        "heads": network.core.blocks[0].heads if network.core.reads else 1,
        "weights": [[name, list(weight.shape)] for name, weight in core.items()],
        "rates": rates,
    }
    matrices = {"items": model.item_vectors, "bias": model.item_biases, "core": np.concatenate([w.ravel() for w in core.values()])}
    if network.core.reads:
        matrices |= {"roles": world.roles.cpu().numpy(), "rating": network.rating.weight.detach().cpu().numpy()[:, 0]}
    of_users = {}
    if network.user_fields is not None:
        with torch.no_grad():
            of_users["known"] = network.users(torch.arange(model.fitted.n_users, device=network.known.device)).cpu().numpy()
    return Portable("adapting", matrices, settings, user_matrices=of_users)
