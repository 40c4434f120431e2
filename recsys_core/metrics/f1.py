"""F1@k, the mean of every user's own F1."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists, divide


class F1(ListMetric):
    """Harmonic mean of a user's precision and recall, which is 2 · hits / (k + relevant)."""

    key = "f1"
    label = "F1 (mean over users)"
    help = "One figure for precision and recall together, worked out for each user, then averaged."
    formula = "2 · hits / (k + number of relevant held-out items), mean over users"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        return divide(2.0 * lists.hits_to[:, k - 1], np.where(lists.n_relevant > 0, lists.n_relevant + k, 0))
