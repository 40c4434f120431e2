"""Averages of the weights over time: steadier than the last step, and flatter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Average of the weights over the updates told to it.

    decay: exponential, min(decay, (1 + steps) / (10 + steps)), so that the first steps are soon forgotten (Polyak &
    Juditsky 1992, https://doi.org/10.1137/0330046; the growing decay is TensorFlow's ExponentialMovingAverage).
    None: the plain mean (stochastic weight averaging, Izmailov et al. 2018, https://arxiv.org/abs/1803.05407).
    Cost: one more copy of the weights and one pass over them an update.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.decay, self.steps = decay, 0

    def update(self) -> None:
        """Take the weights of the step just made into the average."""
        self.steps += 1
        new = 1 / self.steps if self.decay is None else 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, new)

    def restore(self, average: list[Tensor], steps: int) -> None:
        """Go on from an average that was kept."""
        with torch.no_grad():
            for mine, kept in zip(self.average, average, strict=True):
                mine.copy_(kept)
        self.steps = steps

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the network has the averaged weights; afterwards its own again."""
        own: list[Tensor] = [p.detach().clone() for p in self.parameters]
        self.copy_in(self.average)
        try:
            yield
        finally:
            self.copy_in(own)

    def copy_in(self, weights: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self.parameters, weights, strict=True):
                parameter.copy_(weight)
