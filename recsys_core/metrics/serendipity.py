"""Serendipity@k: hits that popularity alone would not have given."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists


class Serendipity(ListMetric):
    """Share of the k places that are hits and are not in the user's most-popular list of length k.

    Source: Ge, Delgado-Battenfeld and Jannach, Beyond accuracy: evaluating recommender systems by coverage
    and serendipity, 2010, https://doi.org/10.1145/1864708.1864761; the primitive recommender is
    most-popular-unseen. Only hits are looked up: an item's place in the user's popular list is its overall
    popularity rank less the user's seen items above it.
    """

    key = "serendipity"
    label = "Serendipity"
    help = "The share of places that are both right and unexpected: a list of the most popular items would not have held them."
    formula = "hits in the first k that are not among the user's k most popular unseen items / k"
    kind = "beyond"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        unexpected = lists.hits[:, :k] & (lists.hit_popular_place[:, :k] >= k)
        return unexpected.sum(axis=1) / k
