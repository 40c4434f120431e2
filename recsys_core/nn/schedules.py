"""How the learning rate moves: warm-up, then constant, cosine or plateau."""

from __future__ import annotations

import math
from typing import Any, Literal

ScheduleName = Literal["constant", "cosine", "plateau"]
LOWEST = 0.01  # share of the learning rate that cosine and plateau end at


class Schedule:
    """rate(update) for updates counted from 0.

    warmup: updates over which the rate rises linearly to its full size (Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677). cosine: half a cosine down to 1 % at `horizon` updates (Loshchilov &
    Hutter 2017, https://arxiv.org/abs/1608.03983). plateau: halved after `patience` results in a row that are
    no better; the results are what `hear` is told.
    """

    def __init__(self, name: ScheduleName, learning_rate: float, warmup: int, horizon: int, patience: int = 5) -> None:
        self.name, self.learning_rate, self.warmup, self.horizon, self.patience = name, learning_rate, warmup, horizon, patience
        self.factor, self.best, self.misses = 1.0, -math.inf, 0

    def rate(self, update: int) -> float:
        if update < self.warmup:
            return self.learning_rate * (update + 1) / self.warmup
        if self.name == "cosine":
            done = min(1.0, (update - self.warmup) / max(1, self.horizon - self.warmup))
            return self.learning_rate * (LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * done)))
        return self.learning_rate * self.factor

    def hear(self, result: float) -> None:
        """A result, larger is better: the validation score, or minus the training loss where there is none."""
        if result > self.best:
            self.best, self.misses = result, 0
            return
        self.misses += 1
        if self.name == "plateau" and self.misses >= self.patience:
            self.factor, self.misses = max(LOWEST, self.factor / 2), 0

    def state(self) -> dict[str, Any]:
        return {"factor": self.factor, "best": None if math.isinf(self.best) else self.best, "misses": self.misses}

    def restore(self, state: dict[str, Any]) -> None:
        self.factor, self.misses = state["factor"], state["misses"]
        self.best = -math.inf if state["best"] is None else state["best"]
