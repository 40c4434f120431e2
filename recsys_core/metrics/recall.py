"""Recall@k."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists, divide


class Recall(ListMetric):
    """Share of the relevant held-out items that are in the list."""

    key = "recall"
    label = "Recall"
    help = "Of the items the user really took, the share that was recommended."
    formula = "hits in the first k / number of relevant held-out items"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return divide(lists.hits_to[:, k - 1], lists.n_relevant)
