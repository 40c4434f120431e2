"""The best of a row of scores."""

from __future__ import annotations

import numpy as np


def best_of(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes int32 (n,), scores float32 (n,)) of the at most k largest, ties by lower code; -inf and NaN never."""
    k = min(k, len(scores))
    if k <= 0:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    if np.isnan(scores).any():
        scores = np.where(np.isnan(scores), -np.inf, scores)
    edge = np.partition(scores, len(scores) - k)[len(scores) - k] if k < len(scores) else -np.inf
    codes = np.flatnonzero(scores >= edge) if edge > -np.inf else np.flatnonzero(scores > -np.inf)
    order = np.argsort(-scores[codes], kind="stable")[:k]
    return codes[order].astype(np.int32), scores[codes[order]].astype(np.float32)
