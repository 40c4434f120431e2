"""Share of long-tail items@k."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class LongTailShare(ListMetric):
    """Share of the list outside the head, the fewest most popular items that hold 80 % of training interactions.

    Source: Abdollahpouri et al., 2019, https://arxiv.org/abs/1901.07555 (APLT).
    """

    key = "long_tail_share"
    label = "Long-tail share"
    help = "The share of recommended items that are not among the popular ones (those that together make 80 % of all interactions)."
    formula = "items of the list outside the popular head / items of the list"
    kind = "beyond"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return lists.mean_over_items(lists.catalog.long_tail, k)
