"""Maximal marginal relevance: each place goes to the item that is good and unlike those already chosen."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..models._card import Source
from ..params import Params, param
from ._base import Reranker, Shelf


class MMR(Reranker):
    """argmax (1 - s) · relevance - s · max similarity to the items chosen before.

    Source: Carbonell & Goldstein, "The use of MMR", SIGIR 1998, https://doi.org/10.1145/290941.291025.
    Shapes: items (B, C) -> columns (B, k). Cost: k · B · C · D multiplications, blocks of users.
    """

    key = "mmr"
    label = "Maximal marginal relevance (MMR)"
    summary = "Passes over items that are too much like those above them; simple and fast."
    source = Source("Carbonell & Goldstein, The use of MMR, diversity-based reranking, SIGIR 1998", "https://doi.org/10.1145/290941.291025")

    class Params(Params):
        strength: float = param(
            0.3, ge=0.0, le=1.0, tune=(0.0, 1.0, "linear"), label="Diversity", help="0 keeps the list; 1 looks at variety alone."
        )

    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        strength, width = np.float32(self.params.strength), min(k, items.shape[1])
        chosen = np.full((len(items), width), -1, dtype=np.int64)
        rows = np.arange(len(items))
        vectors = shelf.vectors[np.maximum(items, 0)]  # (B, C, D)
        gone, nearest = items < 0, np.zeros(items.shape, dtype=np.float32)
        for place in range(width):
            value = np.where(gone, -np.inf, (1 - strength) * relevance - strength * nearest)
            best = value.argmax(axis=1)
            open_ = ~gone[rows, best]
            chosen[:, place] = np.where(open_, best, -1)
            gone[rows, best] = True
            alike = np.einsum("bcd,bd->bc", vectors, vectors[rows, best])
            nearest = alike if place == 0 else np.maximum(nearest, alike)
        return chosen
