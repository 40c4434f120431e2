"""Average popularity of what is recommended@k."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class Popularity(ListMetric):
    """Mean number of training users of the recommended items.

    Source: Abdollahpouri et al., Managing popularity bias in recommender systems with personalized
    re-ranking, 2019, https://arxiv.org/abs/1901.07555 (ARP).
    """

    key = "popularity"
    label = "Average popularity"
    help = "How many training users the recommended items have, on average. Lower means the lists lean less on what everybody knows."
    formula = "mean over the list of the item's number of training users"
    kind = "beyond"
    higher_is_better = False
    range = (0.0, None)
    unit = "users"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return lists.mean_over_items(lists.catalog.popularity_float, k)
