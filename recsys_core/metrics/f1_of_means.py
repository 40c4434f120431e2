"""F1@k of mean precision and mean recall."""

from __future__ import annotations

import numpy as np

from ._base import SetMetric
from ._lists import Lists, divide


class F1OfMeans(SetMetric):
    """Harmonic mean of the mean precision and the mean recall; some papers report this one."""

    key = "f1_of_means"
    label = "F1 (of the means)"
    help = "Precision and recall are averaged over users first, then combined. Usually higher than the mean of every user's own F1."
    formula = "2 · P · R / (P + R) with P, R the means over users"

    def of_all(self, lists: Lists, k: int) -> float:
        if len(lists) == 0:
            return float("nan")
        precision = float(np.mean(lists.hits_to[:, k - 1] / k))
        recall = float(np.nanmean(divide(lists.hits_to[:, k - 1], lists.n_relevant)))
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
