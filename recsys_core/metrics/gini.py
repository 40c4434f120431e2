"""Gini coefficient of item exposure@k."""

from __future__ import annotations

import numpy as np

from ._base import SetMetric
from ._lists import Lists


def gini(counts: np.ndarray) -> float:
    """0 when all are equal, towards 1 when one has everything; NaN when there is nothing. Cost: one sort."""
    ordered = np.sort(np.asarray(counts, dtype=np.float64))
    n, total = len(ordered), ordered.sum()
    if n == 0 or total == 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


class Gini(SetMetric):
    """Inequality of how often items are shown, over all items lists are made of, those never shown included."""

    key = "gini"
    label = "Exposure Gini"
    help = "How unequally items are shown: 0 means every item equally often, near 1 means a few items fill all lists."
    formula = "Σ (2·i − n − 1) · x_i / (n · Σ x) over the n items sorted by exposure x"
    kind = "beyond"
    higher_is_better = False

    def of_all(self, lists: Lists, k: int) -> float:
        return gini(lists.exposure(k))
