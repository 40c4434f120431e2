"""Precision@k."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class Precision(ListMetric):
    """Share of the k places that are hits; places left empty count as misses."""

    key = "precision"
    label = "Precision"
    help = "Of the items recommended, the share the user really took. 0.25 at 20 means 5 of 20."
    formula = "hits in the first k / k"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return lists.hits_to[:, k - 1] / k
