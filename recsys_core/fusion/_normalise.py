"""The scale on which the scores of different models are added up."""

from __future__ import annotations

import numpy as np

from ..portable.normalise import Normalisation, finite, normalise

__all__ = ["Normalisation", "finite", "normalise", "weighted_sum"]


def weighted_sum(scores: list[np.ndarray], weights: np.ndarray, how: Normalisation, ignore: np.ndarray) -> np.ndarray:
    """float32 (B, I): the sum over the parts of weight times normalised score. Cost: a few passes for every part."""
    total = np.zeros(scores[0].shape, dtype=np.float32)
    for weight, part in zip(weights, scores, strict=True):
        total += np.float32(weight) * normalise(part, how, ignore)
    return total
