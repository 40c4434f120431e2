"""Two towers in a form that runs without torch: items as unit vectors, histories as rows to be summed, the tower between as a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._portable import Net, Portable
from .._pruning import kept_of

if TYPE_CHECKING:
    from ...nn.towers import TwoTowerNet


def pack(network: TwoTowerNet, items: np.ndarray, threshold: float | None, users: Callable[[], np.ndarray]) -> Portable:
    """items: float32 (I, d), unit vectors. users: (U, d) vectors of the training users, asked for when factors are to be taken out."""
    import torch

    with torch.inference_mode():
        every = torch.arange(len(items))
        read = network._described(every, network.history_id, network.history_features, 0.0).numpy()
        known = (
            None if network.user_features is None else network.user_features(torch.arange(len(network.user_features.offsets) - 1)).numpy()
        )
        bias = network.user_tower.bias.detach().numpy()
    settings: dict[str, Any] = {"threshold": threshold}
    matrices, of_users = {"read": read, "items": items, "bias": bias}, {} if known is None else {"known": known}
    if network.user_tower.mlp is None:
        whole = Portable("towers", matrices, settings, user_matrices=of_users)
        return replace(whole, prune=lambda share: _narrow(whole, turned(items, users(), share)))
    net = Net(network.user_tower, {"pooled": torch.randn(1, items.shape[1])}, ("vector",))

    def prune(share: float) -> Portable:
        from torch import nn

        turn = turned(items, users(), share)
        last = nn.Linear(*turn.shape, bias=False)
        with torch.no_grad():
            last.weight.copy_(torch.as_tensor(turn.T))
        narrow = replace(net, module=nn.Sequential(network.user_tower, last))
        return Portable("towers", matrices | {"items": items @ turn}, settings, {"tower": narrow}, user_matrices=of_users)

    return Portable("towers", matrices, settings, {"tower": net}, user_matrices=of_users, prune=prune)


def turned(items: np.ndarray, users: np.ndarray, share: float) -> np.ndarray:
    """float32 (d, f), orthonormal columns: the directions in which unit vectors of items and users are longest, f of d.

    Products of what is turned are the closest to the products as they were, seen from both sides. Cost: (I + U) · d² + d³.
    """
    moments = sum((side.T.astype(np.float64) @ side / len(side) for side in (items, users)), np.zeros((items.shape[1],) * 2))
    values, vectors = np.linalg.eigh(moments)
    return vectors[:, np.argsort(-values, kind="stable")[: kept_of(len(values), share)]].astype(np.float32)


def _narrow(whole: Portable, turn: np.ndarray) -> Portable:
    """Everything turned, sums included: only the length of a user's vector changes, which orders nothing anew."""
    matrices, of_users = ({name: value @ turn for name, value in part.items()} for part in (whole.matrices, whole.user_matrices))
    return replace(whole, matrices=matrices, user_matrices=of_users)
