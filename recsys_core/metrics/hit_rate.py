"""Hit rate@k."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class HitRate(ListMetric):
    """1 for a user whose list holds at least one relevant item."""

    key = "hit_rate"
    label = "Hit rate"
    help = "The share of users for whom at least one recommended item was right."
    formula = "1 if there is a hit in the first k, else 0"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return (lists.hits_to[:, k - 1] > 0).astype(np.float64)
