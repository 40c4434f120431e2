"""NDCG for validation inside training loops: no tables, no catalogue."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ._lists import discounts, divide, hit_matrix


def ndcg_at(items: np.ndarray, relevant: sparse.csr_matrix, k: int) -> np.ndarray:
    """float (B,): NDCG@k of lists (B, >= k) against relevant csr (B, I); NaN for a row without relevant items.

    Lists must not repeat an item, as those of `top_k` never do. Cost: 6,000 × 20 in about 10 ms.
    """
    gains = hit_matrix(items[:, :k], relevant) @ discounts(k)[: items.shape[1]]
    ideal = np.concatenate([[0.0], np.cumsum(discounts(k))])
    return divide(gains, ideal[np.minimum(np.diff(relevant.indptr), k)])
