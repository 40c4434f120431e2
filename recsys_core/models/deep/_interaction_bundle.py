"""Networks of pairs in a form that runs without torch: everybody's vectors, the small network's layers, and a sample of items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._portable import Portable

if TYPE_CHECKING:
    from ._interaction import InteractionRecommender

RATE = 0.01  # `nn.fold_in.descend`'s own


def pack(model: InteractionRecommender, sample: int, held: int | None) -> Portable:
    """sample: how many items stand for the catalogue when somebody is folded in. held: a number of the user's vector that does not move."""
    from torch import nn

    data, network, ratings = model.fitted, model.network, model.resolved.loss == "mse"
    users = model._users.cpu().numpy().copy()
    untrained = [] if ratings else np.flatnonzero((data.user_counts == 0) & (np.diff(data.matrix("seen").indptr) > 0))
    if len(untrained):
        users[untrained] = model._fold_in(data.histories(untrained)).cpu().numpy()
    layers = [one for one in network.tower.layers if isinstance(one, nn.Linear)] if network.tower is not None else []
    settings: dict[str, Any] = {
        "threshold": data.threshold,
        "split": list(network.split),
        "layers": len(layers),
        "steps": model.resolved.fold_in_steps,
        "rate": RATE,
        "ratings": ratings,
        "offset": model._offset,
        "held": held,
    }
    matrices = {
        "items": model._items.cpu().numpy(),
        "bias": model._item_bias.cpu().numpy(),
        "start": np.asarray(model._start, np.float32),
        "sample": np.random.default_rng(0).permutation(data.n_items)[:sample],
    }
    if network.product is not None:
        matrices["product"] = network.product.detach().cpu().numpy()
    if layers:
        matrices["hidden_bias"] = network.hidden_bias.detach().cpu().numpy()
    for number, layer in enumerate(layers):
        matrices[f"tower{number}"] = layer.weight.detach().cpu().numpy()
        matrices[f"tower{number}_bias"] = layer.bias.detach().cpu().numpy()
    return Portable("pairs", matrices, settings, user_matrices={"users": users})
