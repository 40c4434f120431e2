"""Miscalibration@k: how far the mix of categories in a list is from the user's own."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ._base import ListMetric
from ._lists import Lists
from ._shares import divergences, mixtures


class Miscalibration(ListMetric):
    """KL divergence of the list's mix of categories from that of the user's liked items in training.

    Source: Steck, Calibrated recommendations, 2018, https://doi.org/10.1145/3240323.3240372, equations 2 to 6 with
    smoothing .01. Differs: every item of a history and of a list counts the same. Without item categories, groups of items
    with the same public stand in. Items without a category are left out; NaN for users or lists that have none left.
    Cost: lists × k products, then lists × categories logarithms in blocks.
    """

    key = "miscalibration"
    label = "Miscalibration"
    help = "How far the mix of categories in the list is from what the user has liked so far: 0 is the same mix."
    formula = "Σ over categories p · ln(p / (.99 q + .01 p)), p = shares in the user's history, q = shares in the list"
    kind = "beyond"
    higher_is_better = False
    range = (0.0, None)

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        shares = lists.catalog.shares
        row, position, item = lists.flat
        within = position < k
        ones = np.ones(int(within.sum()), np.float32)
        places = sparse.csr_matrix((ones, (row[within], item[within])), shape=(len(lists), lists.catalog.n_items))
        return divergences(lists.taste, mixtures(places, shares))
