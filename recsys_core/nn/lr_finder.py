"""Learning-rate range test: rising rates for some steps, and where the loss falls fastest."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..context import RunContext
from .batches import IndexBatches
from .optimizers import Optimizer, OptimizerName
from .runtime import cpu_threads, seeded

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 120
SMOOTHING = 0.9
NOISE = 0.01  # of the loss: a smaller fall is none
HOPELESS = 1.0  # a rise by the whole loss: nothing is learnt beyond


@dataclass(frozen=True)
class Found:
    """rate: the one to train with; None when the loss never fell beyond its noise.

    rates, changes: the curve, which ends where learning broke down. changes: smoothed difference of a batch's loss to the loss
    of the same batch, with the same negatives and the same dropout, before any step.
    """

    rate: float | None
    rates: np.ndarray
    changes: np.ndarray


def find_learning_rate(
    network: nn.Module,
    batches: IndexBatches,
    loss: Callable[[Tensor, int], Tensor],
    optimizer: OptimizerName,
    weight_decay: float,
    ctx: RunContext,
    *,
    steps: int = STEPS,
) -> Found:
    """Train with a rate that rises from 1e-5 to 1 by a constant factor a step; the network is put back afterwards.

    The rate given is a tenth of the one at which the smoothed loss had fallen most.
    Source: Smith 2017, https://arxiv.org/abs/1506.01186 (range test); choice of the rate as in Howard & Gugger 2020,
    https://arxiv.org/abs/2002.04688. Differs: every batch is
    compared with itself, since batches differ more from each other than a hundred steps teach.
    Cost: `steps` batches, forwards twice and backwards once.
    """
    device = next(network.parameters()).device
    before = copy.deepcopy(network.state_dict())
    learning = [(p, p.requires_grad) for p in network.parameters()]  # a loss whose parts take turns changes it
    driver = Optimizer(network, optimizer, LOWEST, weight_decay)
    schedule = LOWEST * (HIGHEST / LOWEST) ** (np.arange(steps) / max(1, steps - 1))
    network.train()
    with cpu_threads(ctx.n_threads):
        with torch.no_grad(), seeded(ctx.seed_for("learning rate"), device):
            start = [float(loss(index, 0)) for _, index in zip(range(steps), _checked(batches, ctx), strict=False)]
        size = float(np.mean(np.abs(start)))
        rates, changes, running = [], [], 0.0
        with seeded(ctx.seed_for("learning rate"), device):
            for step, index in zip(range(steps), _checked(batches, ctx), strict=False):
                ctx.report("finding the learning rate", 0.0, f"step {step + 1} of {steps}")
                driver.set_rate(schedule[step])
                driver.zero_grad()
                value = loss(index, 0)
                value.backward()
                driver.step()
                running = SMOOTHING * running + (1 - SMOOTHING) * (float(value.detach()) - start[step])
                smooth = running / (1 - SMOOTHING ** (step + 1))
                if not math.isfinite(smooth) or smooth > HOPELESS * size:
                    break
                rates.append(float(schedule[step]))
                changes.append(smooth)
    network.load_state_dict(before)
    driver.zero_grad()
    for parameter, learns in learning:
        parameter.requires_grad_(learns)
    fell = bool(changes) and min(changes) < -NOISE * size
    rate = float(f"{rates[int(np.argmin(changes))] / 10:.2g}") if fell else None
    return Found(rate, np.array(rates), np.array(changes))


def _checked(batches: IndexBatches, ctx: RunContext) -> Iterator[Tensor]:
    """Batches without end, the same for the same chance at the start."""
    while True:
        for index in batches:
            ctx.check()
            yield index
