"""Determinantal point process: the set of items that is good and spans as many directions as it can."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..models._card import Source
from ..params import Params, param
from ._base import Reranker, Shelf, first_best
from ._rows import CandidateRows

OWN = np.float32(0.1)  # share of each item that no other item has: two with the same categories still are two
FLOOR = np.float32(1e-6)


class DPP(Reranker):
    """Greedy argmax of (1 - s) · relevance + s · log det(similarities), by an incremental Cholesky decomposition.

    Source: Chen, Zhang & Zhou, "Fast greedy MAP inference for determinantal point process to improve recommendation
    diversity", NeurIPS 2018, https://arxiv.org/abs/1709.05135, algorithm 1; s = 1 - theta of its equation 12, that is
    alpha = theta / (2 (1 - theta)). Differs: the kernel's relevance factors are taken out of the determinant, which adds
    log q to every gain and nothing else: the same choices, no overflow at small s. Similarities are .9 · cosine + .1 on
    the diagonal, else twenty categories could tell only twenty items apart. Vectorised over users.
    Shapes: items (B, C) -> columns (B, k). Cost: k · B · C · (D + k / 2) multiplications, B · C · k numbers for tens of
    users at a time; 6,000 users × 200 candidates × 64 numbers -> 20: 0.4 s on one thread, 40 MB.
    """

    key = "dpp"
    label = "Determinantal point process (DPP)"
    summary = "Looks at the whole list at once: the items together should cover as much as they can; dearer than MMR, often better."
    source = Source(
        "Chen, Zhang & Zhou, Fast greedy MAP inference for determinantal point process, NeurIPS 2018", "https://arxiv.org/abs/1709.05135"
    )
    uses_similarity = True

    class Params(Params):
        strength: float = param(
            0.3, ge=0.0, le=1.0, tune=(0.0, 1.0, "linear"), label="Diversity", help="0 keeps the list; 1 looks at variety alone."
        )

    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        strength, width = np.float32(self.params.strength), min(k, items.shape[1])
        chosen = np.full((len(items), width), -1, dtype=np.int64)
        rows, candidates = np.arange(len(items)), CandidateRows(shelf.traits, items)
        value = (1 - strength) * relevance
        value[items < 0] = -np.inf
        left = np.ones(items.shape, dtype=np.float32)  # of each candidate's length, what the chosen ones do not cover, squared
        factors = np.zeros((len(items), width, items.shape[1]), dtype=np.float32)  # rows of the Cholesky factor
        for place in range(width):
            best = first_best(value + strength * np.log(np.maximum(left, FLOOR)))
            open_ = value[rows, best] > -np.inf
            chosen[:, place] = np.where(open_, best, -1)
            value[rows, best] = -np.inf
            kernel = (1 - OWN) * candidates.times(candidates.of(best))
            if place:
                own = factors[rows, :place, best]
                kernel -= np.matmul(own[:, None, :], factors[:, :place])[:, 0]
            kernel /= np.sqrt(np.maximum(left[rows, best], FLOOR))[:, None]
            factors[:, place] = kernel
            left -= kernel * kernel
        return chosen
