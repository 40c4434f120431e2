"""Novelty@k: mean self-information of what is recommended."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class Novelty(ListMetric):
    """How surprising it is to know the items, in bits, averaged over the list.

    Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems, 2010,
    https://doi.org/10.1073/pnas.1000488107. Differs: items without training users count as having one.
    """

    key = "novelty"
    label = "Novelty"
    help = "How little known the recommended items are. One more means known to half as many people."
    formula = "mean over the list of −log2(training users of the item / training users)"
    kind = "beyond"
    range = (0.0, None)
    unit = "bits"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return lists.mean_over_items(lists.catalog.self_information, k)
