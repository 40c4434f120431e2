"""Catalogue coverage@k."""

from __future__ import annotations

import numpy as np

from ._base import SetMetric
from ._lists import Lists


class Coverage(SetMetric):
    """Share of the catalogue, or of the items lists are made of where they are fewer, that is in at least one list."""

    key = "coverage"
    label = "Catalogue coverage"
    help = "The share of all items that at least one user gets to see."
    formula = "different items in all lists / items in the catalogue"
    kind = "beyond"

    def of_all(self, lists: Lists, k: int) -> float:
        return np.count_nonzero(lists.exposure(k)) / lists.n_eligible if lists.n_eligible else float("nan")
