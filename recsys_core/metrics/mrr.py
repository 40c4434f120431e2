"""MRR@k: reciprocal rank of the first hit."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class MRR(ListMetric):
    """1 / place of the first hit; 0 when there is none in the first k."""

    key = "mrr"
    label = "MRR"
    help = "How far down is the first right item? 1 means at the top, 0.5 second place, 0.1 tenth."
    formula = "1 / place of the first hit, 0 if none in the first k"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        hits = lists.hits[:, :k]
        return np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)
