"""Shannon entropy of item exposure@k."""

from __future__ import annotations

import numpy as np

from ._base import SetMetric
from ._lists import Lists


class Entropy(SetMetric):
    """Entropy, in bits, of which item a randomly chosen place of a randomly chosen list holds."""

    key = "entropy"
    label = "Exposure entropy"
    help = "How varied the lists are as a whole: each further bit is like doubling the number of items shown equally often."
    formula = "−Σ p_i · log2 p_i, p_i = share of all list places held by item i"
    kind = "beyond"
    range = (0.0, None)
    unit = "bits"

    def of_all(self, lists: Lists, k: int) -> float:
        counts = lists.exposure(k)
        shown = counts[counts > 0] / max(1, counts.sum())
        return float(-(shown * np.log2(shown)).sum()) + 0.0 if len(shown) else float("nan")
