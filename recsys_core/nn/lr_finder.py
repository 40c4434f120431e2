"""Learning-rate range test: rising rates for some steps, and where the loss falls fastest."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from ..context import RunContext
from .batches import IndexBatches
from .optimizers import Optimizer, OptimizerName
from .runtime import cpu_threads, seeded

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 120
SMOOTHING = 0.9
HOPELESS = 4.0  # times the lowest loss so far: nothing is learnt beyond


@dataclass(frozen=True)
class Found:
    """rate: the one to train with. rates, losses: the curve, losses smoothed; it ends where learning broke down."""

    rate: float
    rates: np.ndarray
    losses: np.ndarray


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

    The rate given is a third of the one at which the smoothed loss was lowest, before it broke down: steps there
    are as large as they can be with room to spare.
    Source: Smith 2017, https://arxiv.org/abs/1506.01186 (range test); choice of the rate as in Howard & Gugger 2020
    (https://arxiv.org/abs/2002.04688), who divide by 10 for one pass of a large network. Cost: `steps` batches.
    """
    device = next(network.parameters()).device
    before = copy.deepcopy(network.state_dict())
    driver = Optimizer(network, optimizer, LOWEST, weight_decay)
    rates, losses, running = [], [], 0.0
    network.train()
    with cpu_threads(ctx.n_threads), seeded(ctx.seed_for("learning rate"), device):
        for step, index in zip(range(steps), _endless(batches), strict=False):
            ctx.report("finding the learning rate", 0.0, f"step {step + 1} of {steps}")
            driver.set_rate(LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)))
            driver.zero_grad()
            value = loss(index, 0)
            value.backward()
            driver.step()
            running = SMOOTHING * running + (1 - SMOOTHING) * float(value.detach())
            smooth = running / (1 - SMOOTHING ** (step + 1))
            if not math.isfinite(smooth) or (step > 10 and smooth > HOPELESS * min(losses)):
                break
            rates.append(LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)))
            losses.append(smooth)
    network.load_state_dict(before)
    driver.zero_grad()
    best = rates[int(np.argmin(losses))] if losses else LOWEST
    return Found(float(f"{best / 3:.2g}"), np.array(rates), np.array(losses))


def _endless(batches: IndexBatches) -> Iterator[Tensor]:
    while True:
        yield from batches
