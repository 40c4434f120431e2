"""Personalisation@k: how different the lists of different users are."""

from __future__ import annotations

import numpy as np

from ._base import SetMetric
from ._lists import Lists


class Personalisation(SetMetric):
    """1 − mean overlap of the lists over all pairs of users. Exact, from item counts: no users × users table.

    An item in c lists is shared by c (c − 1) / 2 pairs; the sum over items is the summed overlap of all pairs.
    """

    key = "personalisation"
    label = "Personalisation"
    help = "How different two users' lists are: 0 means everybody gets the same, 1 means no two users share an item."
    formula = "1 − mean over pairs of users of (items in both lists / k)"
    kind = "beyond"

    def of_all(self, lists: Lists, k: int) -> float:
        n = len(lists)
        if n < 2:
            return float("nan")
        counts = lists.exposure(k).astype(np.float64)
        return float(1 - (counts * (counts - 1)).sum() / (n * (n - 1) * k))
