"""Small sums over score and vector rows that several forms need."""

from __future__ import annotations

import numpy as np

from .matrix import Matrix


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """float32 (I,): log-probabilities."""
    shifted = scores - scores.max(initial=-np.inf)
    return (shifted - np.log(np.exp(shifted).sum())).astype(np.float32)


def cosine_to_all(vectors: Matrix, lengths: np.ndarray, item: int, n: int | None = None) -> np.ndarray:
    """float32 (n,): the cosine of one row with each of the first n rows (all); 0 where one of them is all zeros.

    lengths: float32 (R,), the rows' lengths."""
    found = vectors.dot(vectors.take(np.array([item]))[0])[:n]
    of_both = lengths[:n] * lengths[item]
    return (found / np.where(of_both > 0, of_both, 1)).astype(np.float32)
