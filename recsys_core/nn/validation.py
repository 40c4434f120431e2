"""The validation score of the training loop: NDCG of full-catalogue lists."""

from __future__ import annotations

import numpy as np

from ..data.holdout import Holdout
from ..data.topk import TopK

VALIDATION_K = 20
VALIDATION_USERS = 2000  # enough to choose an epoch: the standard error of mean NDCG is then about .005


def mean_ndcg(top: TopK, holdout: Holdout) -> float:
    """Mean over users of NDCG@k with binary gains and an ideal cut at min(|relevant|, k).

    Row b of `top` must be holdout.users[b]. Cost: one look-up of B × k pairs.
    """
    truth = holdout.relevant
    n_items = truth.shape[1]
    row = np.repeat(np.arange(truth.shape[0], dtype=np.int64), np.diff(truth.indptr))
    wanted = row * n_items + truth.indices  # sorted: csr rows in order, indices sorted
    pairs = np.arange(len(top), dtype=np.int64)[:, None] * n_items + top.items
    at = np.minimum(np.searchsorted(wanted, pairs), len(wanted) - 1)
    hits = (wanted[at] == pairs) & (top.items >= 0)
    discount = 1 / np.log2(np.arange(2, top.k + 2))
    ideal = np.cumsum(discount)[np.minimum(np.diff(truth.indptr), top.k) - 1]
    return float(((hits * discount).sum(axis=1) / ideal).mean())
