"""Steps of Adam on one user's vector: `nn.fold_in.descend` in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DECAY, DECAY_SQUARES, EPS = 0.9, 0.999, 1e-8  # torch's

Slope = Callable[[np.ndarray], np.ndarray]  # a user's vector -> the gradient of its loss


def descend(start: np.ndarray, slope: Slope, steps: int, rate: float) -> np.ndarray:
    """float32 (d,) after `steps` steps. Source: Kingma & Ba 2015, algorithm 1."""
    x = np.array(start, np.float32)
    mean, squares = np.zeros_like(x), np.zeros_like(x)
    for n in range(1, steps + 1):
        own = slope(x)
        mean += np.float32(1 - DECAY) * (own - mean)
        squares = np.float32(DECAY_SQUARES) * squares + np.float32(1 - DECAY_SQUARES) * own * own
        length = np.sqrt(squares) / np.float32((1 - DECAY_SQUARES**n) ** 0.5) + np.float32(EPS)
        x -= np.float32(rate / (1 - DECAY**n)) * (mean / length)
    return x
