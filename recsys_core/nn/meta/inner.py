"""Adapting to one task: a few gradient steps on a dictionary of weights, which can be differentiated themselves."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.func import grad

Weights = dict[str, Tensor]
Rates = float | Tensor | Weights


def adapt(
    loss: Callable[[Weights], Tensor], weights: Weights, *, steps: int, rates: Rates, second_order: bool = False, anchor: float = 0.0
) -> Weights:
    """The weights after `steps` of w ← w − rate · ∇(loss(w) + anchor / 2 · ‖w − w₀‖²).

    Source: Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, eq. 1; anchor: Zhou et al. 2019 (Meta-MinibatchProx).
    loss: of one task. rates: one for all weights, or one a weight (Meta-SGD). second_order: whether what is differentiated later goes
    through the slopes too. Cost: `steps` gradients; with second_order their graph is kept.
    """
    start = weights
    for _ in range(steps):
        slopes = grad(loss)(weights)
        if not second_order:
            slopes = {name: slope.detach() for name, slope in slopes.items()}
        moved = {}
        for name, weight in weights.items():
            slope = slopes[name] + anchor * (weight - start[name]) if anchor else slopes[name]
            moved[name] = weight - (rates[name] if isinstance(rates, dict) else rates) * slope
        weights = moved
    return weights
