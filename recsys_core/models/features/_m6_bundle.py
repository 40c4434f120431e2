"""M6-Rec in a form that runs without torch: the towers' results as rows, the pooling of a history and the generator as small matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import Unsupported
from .._portable import Portable

if TYPE_CHECKING:
    import torch

    from .m6_rec import M6Rec


def pack(model: M6Rec) -> Portable:
    """Raises Unsupported where high-level features of users are read, which are worked out from a history by the data layer."""
    import torch

    data, network, p = model.fitted, model.network, model.resolved
    if model.inputs.derived.get("user") is not None:
        rule = f"{model.label} with high-level features of users cannot be bundled: they are worked out anew from every history."
        raise Unsupported(rule, "Switch 'Use high-level features' off and train it again.")
    ratings = p.loss == "mse"
    settings: dict[str, Any] = {"threshold": data.threshold, "history": p.history, "ratings": ratings}
    settings |= {"mean": model._mean, "spread": model._spread, "alone": "user" in model.inputs.side.tables}
    matrices = {"items": model.item_vectors, "roles": _plain(model._items.roles), "everyone": _plain(network.everyone)}
    if ratings:
        matrices["bias"] = _plain(model._items.biases)
    of_users = {}
    with torch.no_grad():
        if network.user_tower is not None:
            matrices["nobody"] = _fused(model, np.array([-1]))[0]
            of_users["fused"] = _fused(model, np.arange(data.n_users))
        if network.pool.query is not None:
            matrices |= {"query": _plain(network.pool.query.weight), "key": _plain(network.pool.key(model._items.roles).float())}
    mlp = network.user_generator.mlp
    if mlp is not None:
        first, last = mlp[1].layers[0], mlp[1].layers[-1]
        layers = {"generator_norm": mlp[0], "generator0": first, "generator1": last}
        matrices |= {name: _plain(layer.weight) for name, layer in layers.items()}
        matrices |= {f"{name}_bias": _plain(layer.bias) for name, layer in layers.items()}
    return Portable("m6_rec", matrices, settings, user_matrices=of_users)


def _fused(model: M6Rec, users: np.ndarray) -> np.ndarray:
    """float32 (B, d): what the user tower makes of these users' rows and ids; -1: of nobody in particular."""
    import torch

    network, device = model.network, model._items.vectors.device
    out = []
    for part in np.array_split(users, max(1, len(users) // 2**14)):
        codes = torch.as_tensor(part.astype(np.int64), device=device)
        at = codes.clamp(min=0)
        known = torch.as_tensor(model.fitted.user_counts > 0, device=device)[at] & (codes >= 0)
        there = [known[:, None]] * network.user_ids + [(codes >= 0)[:, None].expand(-1, network.n_table)]
        out.append(_plain(network.user_tower(at, network.user_rows.take(at), torch.cat(there, 1)).vectors))
    return np.concatenate(out).astype(np.float32)


def _plain(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(np.float32)
