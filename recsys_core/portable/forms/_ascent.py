"""The maximum of a concave function of one user's vector, found as fold-in finds it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# (x (F,), scores (m,)) -> (objective, what gives its gradient (F,)); larger is better, concave in x
Look = Callable[[np.ndarray, np.ndarray], tuple[float, Callable[[], np.ndarray]]]


def maximise(look: Look, rows: np.ndarray, offset: np.ndarray, direction: np.ndarray, steps: int, flat: float) -> np.ndarray:
    """float64 (F,): the maximum of an objective of x and of scores rows · x + offset.

    The same ascent as models take for many histories at once: the gradient times the inverse of a curvature (`direction`), a step that
    grows while the objective does, else shrinks. Scores are linear in x, so trying another step along the same line costs no product.
    It ends early where the slope promises less than `flat` of what it first did.
    Shapes: rows (m, F), offset (m,), direction (F, F). Cost: 2 × m × F for every step taken.
    """
    x, scores = np.zeros(len(direction)), offset
    value, slope = look(x, scores)
    step, first = 1.0, None
    towards = along = None
    for _ in range(steps):
        if towards is None:
            gradient = slope()
            towards = gradient @ direction
            promised = float(towards @ gradient)
            first = promised if first is None else first
            if promised <= flat * first:
                break
            along = rows @ towards.astype(rows.dtype)
        tried, tried_scores = x + step * towards, scores + rows.dtype.type(step) * along
        new, new_slope = look(tried, tried_scores)
        if new >= value:
            x, scores, value, slope, towards = tried, tried_scores, new, new_slope, None
            step *= 1.5
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
