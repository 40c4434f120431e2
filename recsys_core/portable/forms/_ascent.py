"""The maximum of a concave function of one user's vector, found as fold-in finds it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FLAT = 1e-12  # of the first step's squared length in the metric of the curvature: what is left changes no list

# x (F,) -> (objective, its gradient (F,)); larger is better, concave in x
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def maximise(objective: Objective, direction: np.ndarray, steps: int) -> np.ndarray:
    """float64 (F,): the same ascent as models take for many rows at once: the gradient times the inverse of a curvature (`direction`), a
    step that grows while the objective does, else shrinks. It stops early where nothing is left to climb."""
    x = np.zeros(len(direction))
    value, gradient = objective(x)
    step, start = 1.0, None
    for _ in range(steps):
        towards = gradient @ direction
        left = float(towards @ gradient)
        start = left if start is None else start
        if left <= FLAT * start:
            break
        tried = x + step * towards
        new_value, new_gradient = objective(tried)
        if new_value >= value:
            x, gradient, value, step = tried, new_gradient, new_value, step * 1.5
        else:
            step *= 0.3
    return x


def popularity_sample(share: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(items, weights): the whole catalogue with its popularity shares, or for a large one `size` quantiles of the popularity
    distribution, each with weight 1 / size."""
    if len(share) <= size:
        return np.arange(len(share)), share
    at = np.searchsorted(np.cumsum(share), (np.arange(size) + 0.5) / size * share.sum())
    return np.minimum(at, len(share) - 1), np.full(size, 1 / size)
