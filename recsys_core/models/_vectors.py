"""What models with one vector an item say of similar items."""

from __future__ import annotations

import numpy as np


def cosines(vectors: np.ndarray, items: np.ndarray) -> np.ndarray:
    """float (B, I): cosine of each asked item's vector with every item's; 0 where one of them is all zeros.

    Shapes: vectors (I, d), items int (B,).
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    return unit[items] @ unit.T
