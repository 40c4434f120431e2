"""AUC from the first k places."""

from __future__ import annotations

import numpy as np

from ._base import ListMetric
from ._lists import Lists, divide


class AUC(ListMetric):
    """Chance that a relevant item stands above one that is not, where all items below place k tie.

    With k = the number of items this is the exact AUC; with a shorter list it is a lower-resolution one
    that needs nothing but the list. Items the user already had are not candidates. NaN when every
    candidate is relevant.
    """

    key = "auc"
    label = "AUC"
    help = (
        "The chance that a right item is ranked above a wrong one, from the list alone: everything below place k counts as a tie. "
        "0.5 is guessing; it changes little between good models."
    )
    formula = "(Σ over hits (N − wrong items above) + missed · (N − wrong items listed) / 2) / (relevant · N), N = wrong candidates"

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        n_seen = np.diff(lists.barred.indptr)
        n_wrong = lists.n_eligible - n_seen - lists.n_relevant
        wrong_to = lists.length_to - lists.hits_to
        hits = lists.hits_to[:, k - 1]
        wrong_above = (lists.hits[:, :k] * wrong_to[:, :k]).sum(axis=1)
        won = hits * n_wrong - wrong_above + (lists.n_relevant - hits) * (n_wrong - wrong_to[:, k - 1]) / 2
        return divide(won, np.maximum(n_wrong, 0) * lists.n_relevant)
