"""Finding the vectors of users a model has never seen, with everything it learnt held fixed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def descend(start: Tensor, loss: Callable[[Tensor], Tensor], steps: int, learning_rate: float = 0.01) -> Tensor:
    """(B, d) after `steps` steps of Adam on loss(vectors), which must be a sum over rows.

    Each row's steps then depend on that row alone: a batch gives what its rows give one by one.
    No gradient reaches anything but the vectors. Cost: `steps` times a forward and half a backward pass.
    """
    with torch.inference_mode(False), torch.enable_grad():
        vectors = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([vectors], lr=learning_rate)
        for _ in range(steps):
            (vectors.grad,) = torch.autograd.grad(loss(vectors), vectors)
            optimizer.step()
        return vectors.detach()
