"""A user's own mix of categories, from the items liked before."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..data.histories import Histories
from ..metrics._shares import mixtures
from ._shelf import Shelf


def tastes(histories: Histories, shelf: Shelf, shares: sparse.csr_matrix) -> np.ndarray:
    """float32 (B, G), rows summing to 1: mean shares (I, G) of what was liked (of all there is where nothing was); 0 without any."""
    liked = histories.relevant(shelf.train.threshold).matrix(shelf.train.n_items)
    return mixtures(liked, shares).toarray()
