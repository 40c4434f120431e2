"""NDCG@k with binary gains."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists, discounts, divide


class NDCG(ListMetric):
    """Discounted gain of the list over that of the best possible list.

    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002,
    https://doi.org/10.1145/582415.582418. Differs: binary gains; the ideal list is cut at
    min(number of relevant items, k), so that a perfect list of k hits scores 1.
    """

    key = "ndcg"
    label = "NDCG"
    help = "Are the right items in the list, and near its top? 1 is a perfect list; a hit at place 1 counts more than one at place 20."
    formula = "Σ over hits 1 / log2(place + 1), divided by the same sum for a list that starts with min(relevant, k) hits"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        ideal = np.concatenate([[0.0], np.cumsum(discounts(k))])
        return divide(lists.gain_to[:, k - 1], ideal[np.minimum(lists.n_relevant, k)])
