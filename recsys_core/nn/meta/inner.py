"""Adapting to one task: a few gradient steps on a dictionary of weights, which can be differentiated themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.func import grad

Weights = dict[str, Tensor]
Rates = float | Tensor | Weights

DOT = "/"  # stands for the dot of a weight's name, which parameters of a module may not have


def adapt(
    loss: Callable[[Weights], Tensor], weights: Weights, *, steps: int, rates: Rates, second_order: bool = False, anchor: float = 0.0
) -> Weights:
    """The weights after `steps` of w ← w − rate · ∇(loss(w) + anchor / 2 · ‖w − w₀‖²).

    Source: Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, eq. 1; anchor: Zhou et al. 2019 (Meta-MinibatchProx),
    https://papers.nips.cc/paper/8432. rates: one for all weights, or one a weight (Meta-SGD, Li et al. 2017).
    loss: of one task. second_order: whether what is differentiated later goes through the slopes too.
    Cost: `steps` gradients; with second_order their graph is kept.
    """
    return adaptation(loss, weights, steps=steps, rates=rates, second_order=second_order, anchor=anchor)[-1]


def adaptation(
    loss: Callable[[Weights], Tensor], weights: Weights, *, steps: int, rates: Rates, second_order: bool = False, anchor: float = 0.0
) -> list[Weights]:
    """As `adapt`, but the weights before the first step and after every one: steps + 1 of them."""
    path = [dict(weights)]
    for _ in range(steps):
        now = path[-1]
        with nullcontext() if second_order else torch.no_grad():  # `grad` itself works in it; nothing outside is recorded
            slopes = grad(loss)(now)
        if anchor:
            slopes = {name: slope + anchor * (now[name] - weights[name]) for name, slope in slopes.items()}
        path.append({name: weight - _rate(rates, name) * slopes[name] for name, weight in now.items()})
    return path


def _rate(rates: Rates, name: str) -> float | Tensor:
    return rates[name] if isinstance(rates, dict) else rates


def rate_parameters(weights: Mapping[str, Tensor], start: float, *, elementwise: bool = False) -> nn.ParameterDict:
    """Learnable inner rates, one a weight tensor (elementwise: one a number, as Meta-SGD was published), all `start` at first.

    Kept as logarithms, so that they stay positive and an optimiser changes them by a share; `rates_from` reads them. A dot in a name
    is written `/`.
    """
    if not start > 0:
        raise ValueError(f"An inner rate is above 0, but it is {start}.")
    logs = {name: torch.full_like(weight if elementwise else weight.new_empty(()), start).log() for name, weight in weights.items()}
    return nn.ParameterDict({name.replace(".", DOT): nn.Parameter(log) for name, log in logs.items()})


def rates_from(parameters: nn.ParameterDict) -> Weights:
    """What `rate_parameters` made, as positive rates by the names of the weights; differentiable."""
    return {name.replace(DOT, "."): log.exp() for name, log in parameters.items()}
