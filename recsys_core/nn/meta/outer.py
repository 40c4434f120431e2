"""Learning what to adapt from: losses after adaptation over many tasks at once, as scalars whose `backward()` trains the start.

A loss is a function (weights, task) -> scalar of ONE task. `tasks` is a tensor or any nesting of dicts, lists and tuples of tensors, each
with the tasks as its first dimension, T; unequal supports are padded and masked by the loss. Tasks run side by side under `vmap`, each
with chance of its own (dropout). `weights` are adapted, `frozen` ones are not, the losses get both in one dictionary. Both, and whatever
else the losses close over (item vectors that all tasks share), get gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

from .inner import Rates, Weights, adapt

Task = Any
TaskLoss = Callable[[Weights, Task], Tensor]
NOTHING: Weights = {}


def post_adaptation(
    support_loss: TaskLoss,
    query_loss: TaskLoss,
    weights: Weights,
    tasks: Task,
    *,
    steps: int,
    rates: Rates,
    second_order: bool,
    anchor: float = 0.0,
    frozen: Weights = NOTHING,
) -> tuple[Tensor, Tensor]:
    """Query losses and support losses of every task after its adaptation; differentiable through it.

    Source: MAML, Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, algorithm 1 (second_order=False: first-order MAML, §5.2).
    ANIL (Raghu et al. 2020) and MeLU (Lee et al. 2019): the weights that are not adapted are `frozen`. Meta-SGD (Li et al. 2017): `rates`
    are learnable tensors. Shapes: (T,), (T,). Cost: steps + 2 losses forward, as many backward; of second order about twice that.
    """

    def losses(task: Task) -> tuple[Tensor, Tensor]:
        def support(moved: Weights) -> Tensor:
            return support_loss({**frozen, **moved}, task)

        adapted = adapt(support, weights, steps=steps, rates=rates, second_order=second_order, anchor=anchor)
        return query_loss({**frozen, **adapted}, task), support(adapted)

    return _each(losses, tasks)


def adapted_weights(
    support_loss: TaskLoss,
    weights: Weights,
    tasks: Task,
    *,
    steps: int,
    rates: Rates,
    anchor: float = 0.0,
    frozen: Weights = NOTHING,
    each: bool = False,
) -> Weights:
    """The weights of every task after adaptation, each (T, …), with no graph. each: `weights` are (T, …), a start for every task."""

    def one(start: Weights, task: Task) -> Weights:
        return adapt(lambda moved: support_loss({**frozen, **moved}, task), start, steps=steps, rates=rates, anchor=anchor)

    with torch.no_grad():
        if each:
            return _each(lambda pair: one(*pair), (weights, tasks))
        return _each(lambda task: one(weights, task), tasks)


def reptile(
    support_loss: TaskLoss, weights: Weights, tasks: Task, *, steps: int, rates: Rates, anchor: float = 0.0, frozen: Weights = NOTHING
) -> tuple[Tensor, Weights]:
    """A loss whose slope is the way from the adapted weights to these, and the adapted weights (T, …), detached.

    Its value is the mean support loss after adaptation; its gradient for `weights` is w₀ − mean of w*, so that an optimiser's step goes
    towards the adapted weights. anchor > 0: Meta-MinibatchProx, which minimises the mean over tasks of
    min_w loss(w) + anchor / 2 · ‖w − w₀‖²; its gradient is anchor · (w₀ − mean of w*). `frozen` weights and what the loss closes over get
    the gradient of the support loss at the adapted weights, which for the proximal form is that of the same minimum.
    Source: Nichol, Achiam, Schulman 2018, https://arxiv.org/abs/1803.02999, algorithm 2; Zhou et al. 2019, https://papers.nips.cc/paper/8432.
    Cost: steps + 1 losses forward and backward; no graph of the steps is kept.
    """
    adapted = adapted_weights(support_loss, weights, tasks, steps=steps, rates=rates, anchor=anchor, frozen=frozen)
    after = _each(lambda pair: support_loss({**frozen, **pair[0]}, pair[1]), (adapted, tasks)).mean()
    return after + towards(weights, adapted, anchor or 1.0), adapted


def towards(weights: Weights, adapted: Weights, strength: float = 1.0) -> Tensor:
    """0, with strength · (w₀ − mean of w*) as its gradient for `weights`. adapted: each (T, …)."""
    way = sum(((weights[name] - moved.mean(0)).detach() * weights[name]).sum() for name, moved in adapted.items())
    return _slope_only(strength * way)


def implicit(
    support_loss: TaskLoss,
    query_loss: TaskLoss,
    weights: Weights,
    tasks: Task,
    *,
    steps: int,
    rates: Rates,
    anchor: float,
    cg_steps: int,
    frozen: Weights = NOTHING,
) -> tuple[Tensor, Tensor]:
    """As `post_adaptation`, with the gradient of the adapted weights as the minimum they are near to, not of the steps that led there.

    w* minimises loss(w) + anchor / 2 · ‖w − w₀‖², so dw*/dw₀ = (I + H / anchor)⁻¹ with H the Hessian of the support loss at w*; the system
    is solved by `cg_steps` of conjugate gradients with products of H. Everything else the minimum depends on (`frozen` weights, what
    the losses close over) gets its implicit gradient too. All of it is as good as w* is near the minimum: take enough steps.
    Source: Rajeswaran et al. 2019, https://arxiv.org/abs/1909.04630, eq. 6 and algorithm 2.
    Differs: gradient steps as inner solver; the support losses are detached (add a share of them to the query loss instead).
    Shapes: (T,), (T,). Cost: steps + 3 losses forward and backward and `cg_steps` second derivatives; memory does not grow with steps.
    """
    if not anchor > 0:
        raise ValueError(f"The implicit gradient needs an anchor above 0, but it is {anchor}.")
    adapted = adapted_weights(support_loss, weights, tasks, steps=steps, rates=rates, anchor=anchor, frozen=frozen)

    def solve(pair: tuple[Weights, Task]) -> Weights:
        moved, task = pair
        uphill = grad(lambda w: query_loss({**frozen, **w}, task))(moved)
        _, hessian = vjp(grad(lambda w: support_loss({**frozen, **w}, task)), moved)  # one draw of dropout for all products
        return conjugate_gradients(lambda v: _sum(v, hessian(v)[0], 1 / anchor), uphill, cg_steps)

    def losses(triple: tuple[Weights, Weights, Task]) -> tuple[Tensor, Tensor]:
        moved, direction, task = triple
        slopes = grad(lambda w: support_loss({**frozen, **w}, task))(moved)
        inner = {
            name: slope + anchor * (moved[name] - weights[name]) for name, slope in slopes.items()
        }  # 0 at the minimum, whatever moves it
        query = query_loss({**frozen, **moved}, task) - _slope_only(_dot(inner, direction) / anchor)
        return query, support_loss({**frozen, **moved}, task).detach()

    with torch.no_grad():
        direction = _each(solve, (adapted, tasks))
    return _each(losses, (adapted, direction, tasks))


def conjugate_gradients(product: Callable[[Weights], Weights], right: Weights, steps: int) -> Weights:
    """x with product(x) = right, after `steps` at most, for a symmetric positive definite product.

    A direction along which the product is not positive ends the search where it is: what is found so far stays.
    Source: Hestenes and Stiefel 1952; the stop as in Steihaug 1983. Runs under vmap: no step depends on values but by `where`.
    """
    found = {name: torch.zeros_like(value) for name, value in right.items()}
    residual, direction, error = right, right, _dot(right, right)
    running = torch.ones_like(error)
    floor = error * torch.finfo(error.dtype).eps ** 2
    for _ in range(steps):
        image = product(direction)
        bend = _dot(direction, image)
        running = torch.where((bend > 0) & (error > floor), running, torch.zeros_like(running))
        length = running * error / torch.where(running > 0, bend, torch.ones_like(bend))
        found, residual = _sum(found, direction, length), _sum(residual, image, -length)
        left = _dot(residual, residual)
        direction = _sum(residual, direction, running * left / torch.where(running > 0, error, torch.ones_like(error)))
        error = left
    return found


def _each(function: Callable[[Any], Any], tasks: Task) -> Any:
    return vmap(function, randomness="different")(tasks)


def _slope_only(value: Tensor) -> Tensor:
    """Nothing to the value, all to the gradient."""
    return value - value.detach()


def _dot(left: Weights, right: Weights) -> Tensor:
    return sum((value * right[name]).sum() for name, value in left.items())


def _sum(left: Weights, right: Weights, factor: float | Tensor) -> Weights:
    return {name: value + factor * right[name] for name, value in left.items()}
