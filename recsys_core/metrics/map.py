"""MAP@k: mean average precision."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists, divide


class MAP(ListMetric):
    """Precision at each hit, summed, over min(number of relevant items, k)."""

    key = "map"
    label = "MAP"
    help = "Precision measured at every hit and averaged: rewards lists whose hits come early and close together."
    formula = "Σ over hits (precision at the hit's place) / min(number of relevant held-out items, k)"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return divide(lists.precision_sum_to[:, k - 1], np.minimum(lists.n_relevant, k))
