"""Learn how much each part counts, by direct search on the target metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..context import RunContext
from ..data.topk import top_k
from ..metrics._lists import discounts
from ..models._masking import codes_at
from ._candidates import union_of_tops

KEEP_BEST = 8  # the learnt weights are the mean of the best few: one winner would be picked by luck


@dataclass(frozen=True)
class Candidates:
    """For V users: items (V, C) codes, -1 where padded; scores (P, V, C) normalised scores of every part;
    hits (V, C) bool, the item is a held-out relevant one; ideal (V,) the best DCG the user can reach."""

    items: np.ndarray
    scores: np.ndarray
    hits: np.ndarray
    ideal: np.ndarray
    k: int

    def ndcg(self, weights: np.ndarray) -> float:
        """Mean NDCG@k of the lists that the weights (P,) give."""
        return float(self.per_user(np.tensordot(weights.astype(np.float32), self.scores, axes=1)).mean())

    def per_user(self, fused: np.ndarray) -> np.ndarray:
        """float (V,): NDCG@k of every user's list by the fused scores (V, C), which are written into."""
        fused[self.items < 0] = -np.inf
        columns, _ = top_k(fused, self.k)
        gains = np.take_along_axis(self.hits, np.maximum(columns, 0), axis=1) & (columns >= 0)
        return (gains @ discounts(self.k)) / self.ideal

    @classmethod
    def joined(cls, blocks: list[Candidates]) -> Candidates:
        """The users of all blocks, padded to the widest."""
        width = max(block.items.shape[1] for block in blocks)

        def wide(array: np.ndarray, fill: float) -> np.ndarray:
            return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])], constant_values=fill)

        return cls(
            items=np.concatenate([wide(block.items, -1) for block in blocks]),
            scores=np.concatenate([wide(block.scores, 0) for block in blocks], axis=1),
            hits=np.concatenate([wide(block.hits, False) for block in blocks]),
            ideal=np.concatenate([block.ideal for block in blocks]),
            k=blocks[0].k,
        )


def collect(
    part_scores: list[np.ndarray],
    seen: sparse.csr_matrix,
    relevant: sparse.csr_matrix,
    k: int,
    depth: int,
    order: np.ndarray | None = None,
) -> Candidates:
    """The union of the parts' top `depth` unseen items per user, for one block of users.

    part_scores: P arrays (V, I), normalised. order: codes (V, C) of the only candidates there are; who comes first in it goes before
    those with equal scores. Memory: some copies of V × I, so V is a block; what is kept is V × depth × P.
    """
    hidden, truth = seen.toarray().astype(bool), relevant.toarray().astype(bool)
    if order is not None:
        part_scores = [np.take_along_axis(scores, order, axis=1) for scores in part_scores]
        hidden, truth = np.take_along_axis(hidden, order, axis=1), np.take_along_axis(truth, order, axis=1)
    items = union_of_tops(part_scores, hidden, depth)  # ascending, so that ties go to the lower code (or the earlier) as everywhere else
    at = np.maximum(items, 0)
    sizes = np.minimum(truth.sum(axis=1), k)
    return Candidates(
        items=items if order is None else codes_at(order, items),
        scores=np.stack([np.take_along_axis(scores, at, axis=1) for scores in part_scores]),
        hits=np.take_along_axis(truth, at, axis=1) & (items >= 0),
        ideal=np.maximum(np.cumsum(discounts(k))[np.maximum(sizes, 1) - 1], 1e-9),
        k=k,
    )


def search(candidates: Candidates, ctx: RunContext, samples: int = 48) -> tuple[np.ndarray, float]:
    """(weights (P,) non-negative with sum 1, their NDCG@k).

    Equal weights, each part alone, random mixtures, then a pattern search around the best with a
    shrinking step. Cost: about (samples + 40 P) evaluations of V × C × P multiplications.
    """
    n_parts = len(candidates.scores)
    tried: dict[tuple[float, ...], float] = {}

    def score(weights: np.ndarray) -> float:
        weights = np.maximum(weights, 0)
        weights = weights / weights.sum() if weights.sum() > 0 else np.full(n_parts, 1 / n_parts)
        key = tuple(np.round(weights, 4))
        if key not in tried:
            ctx.check()
            tried[key] = candidates.ndcg(np.array(key))
        return tried[key]

    rng = ctx.rng("fusion weights")
    for start in [np.full(n_parts, 1 / n_parts), *np.eye(n_parts), *rng.dirichlet(np.ones(n_parts), size=samples * (n_parts > 1))]:
        score(start)
    step = 0.2
    while step > 0.02 and n_parts > 1:
        best = max(tried, key=tried.get)
        moves = np.concatenate([np.array(best) + step * np.eye(n_parts), np.array(best) - step * np.eye(n_parts)])
        if max(score(move) for move in moves) <= tried[best]:
            step /= 2
    ranked = sorted(tried, key=tried.get, reverse=True)[:KEEP_BEST]
    mean = np.mean(ranked, axis=0)
    return mean / mean.sum(), score(mean)
