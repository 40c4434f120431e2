"""What people and lists are made of: shares of categories, and how far two such mixtures are apart."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse

N_CLUSTERS = 24  # groups of items at most, where there are no categories
CLUSTERED = 10_000  # items that groups are found on; the others join the nearest
SMOOTHING = 0.01  # of Steck 2018: a category that a list lacks costs much, not endlessly much
_BLOCK_CELLS = 2_000_000


def clusters(embeddings: np.ndarray) -> sparse.csr_matrix:
    """csr float32 (I, G): 1 for the group of every item with a vector. k-means on the embeddings, seeded."""
    from scipy.cluster.vq import kmeans2, vq

    known = np.flatnonzero(np.any(embeddings, axis=1))
    points = embeddings[known].astype(np.float64)
    some = points[np.random.default_rng(0).choice(len(points), min(len(points), CLUSTERED), replace=False)]
    different = len(np.unique(np.round(some, 4), axis=0)) if len(some) else 0
    n_groups = int(np.clip(np.sqrt(len(known) / 2), 1, min(N_CLUSTERS, max(1, different))))
    group = np.zeros(len(known), dtype=np.int64)
    if n_groups > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a group that lost its last item: its column stays empty
            group = vq(points, kmeans2(some, n_groups, minit="++", rng=0)[0])[0]
    return sparse.csr_matrix((np.ones(len(known), np.float32), (known, group)), shape=(len(embeddings), n_groups))


def mixtures(counts: sparse.csr_matrix, shares: sparse.csr_matrix) -> sparse.csr_matrix:
    """csr float32 (B, G), rows summing to 1: the mean of the shares of the items in each row of counts (B, I); a row without
    an item that has shares is empty."""
    total = (counts @ shares).tocsr()
    sums = np.asarray(total.sum(axis=1)).ravel()
    total.data = (total.data / np.repeat(np.maximum(sums, 1e-12), np.diff(total.indptr))).astype(np.float32)
    return total


def divergences(wanted: sparse.csr_matrix, given: sparse.csr_matrix, smoothing: float = SMOOTHING) -> np.ndarray:
    """float (B,): KL(p || (1 - a) q + a p) in nats, row by row; NaN where either row is empty. In blocks of users."""
    out = np.full(wanted.shape[0], np.nan)
    rows = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(given.indptr) > 0))
    for part in np.array_split(rows, max(1, len(rows) * wanted.shape[1] // _BLOCK_CELLS)):
        p, q = (side[part].toarray().astype(np.float64) for side in (wanted, given))
        near = (1 - smoothing) * q + smoothing * p
        out[part] = np.sum(p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, near, 1)), axis=1)
    return out
