"""A combination that depends on how many items somebody has shown, learnt on few-shot tasks of held-out users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ..context import RunContext
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..models._masking import allowed_mask
from ..models.meta._validation import FewShots
from ._normalise import normalise
from ._weights import Candidates, search

Scale = Literal["z", "probability"]
LEVELS = (0, 1, 3, 5, 10)  # numbers of items shown that weights are learnt for
DOUBT = 200  # held-out users with the common weights that are added to those of every level


class Few:
    """Held-out users, of whom the first few items are shown; what has to be found is the same, however many are shown.

    Users from outside training: as in `FewShots`, all their items in an order of chance. Those in training: a few of their training items
    are shown, what was held out is to be found, and whatever they have had is on no list.
    """

    def __init__(self, validation: Holdout, data: Any, rng: np.random.Generator) -> None:
        self.users, self.n_items = validation.users, data.n_items
        if validation.cold:
            tasks = FewShots(validation, LEVELS, rng)
            self.pool, self.place, self.found = tasks.pool, tasks.place, tasks.found
            self.had = self.pool.matrix(self.n_items)
        else:
            own = data.histories(self.users)
            order = np.lexsort((rng.random(len(own.items)), own.row))
            place = np.arange(len(order)) - np.repeat(own.indptr[:-1], own.lengths)
            few = order[place < max(LEVELS)]
            self.pool = Histories.from_rows(len(own), own.row[few], own.items[few], own.values[few])
            self.place, self.found = place[place < max(LEVELS)], validation.relevant
            self.had = own.matrix(self.n_items)
        allowed = allowed_mask(validation.candidates, self.n_items)
        self.barred = np.zeros(self.n_items, bool) if allowed is None else ~allowed

    def shown(self, n: int) -> Histories:
        """The first n items of everybody."""
        keep = self.place < n
        return Histories.from_rows(len(self.pool), self.pool.row[keep], self.pool.items[keep], self.pool.values[keep])

    def blocks(self, n: int, batches: Iterator[slice]) -> Iterator[tuple[Histories, np.ndarray, sparse.csr_matrix, sparse.csr_matrix]]:
        """(histories of n items, users, hidden csr (b, I), to be found csr (b, I))."""
        shown = self.shown(n)
        for rows in batches:
            hidden = sparse.csr_matrix(((self.had[rows].toarray() != 0) | self.barred).astype(np.float32))
            yield shown.take(np.arange(rows.start, rows.stop)), self.users[rows], hidden, self.found[rows]


def on_scale(scores: np.ndarray, scale: Scale, had: np.ndarray) -> np.ndarray:
    """float32 (B, I): z-scores, or logarithms of softmax probabilities, over the items that were not `had` (bool (B, I))."""
    if scale == "z":
        return normalise(scores, "z", had)
    values = np.asarray(scores, np.float32)
    left = np.where(had, -np.inf, values)
    top = left.max(1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return values - top - np.log(np.maximum(np.exp(left - top).sum(1, keepdims=True), 1e-30))


def weights_at(table: np.ndarray, levels: Sequence[int], n_shown: np.ndarray) -> np.ndarray:
    """(B, P): weights for so many items shown (B,), between levels on the scale of log(1 + items); beyond the last as there."""
    at, marks = np.log1p(n_shown), np.log1p(np.asarray(levels, float))
    return np.stack([np.interp(at, marks, column) for column in np.asarray(table, float).T], axis=1)


def learn(levels: dict[Scale, list[Candidates]], ctx: RunContext) -> tuple[Scale, np.ndarray, float]:
    """(scale, weights (L, P), NDCG reached on the same users, mean over the levels).

    The scale is the one on which common weights reach most. Every level's own weights are drawn to the common ones by DOUBT users."""
    common = {scale: search(Candidates.joined(blocks), ctx, samples=16) for scale, blocks in levels.items()}
    scale = max(common, key=lambda name: common[name][1])
    rows = []
    for level in levels[scale]:
        n_users = len(level.items)
        own, _ = search(level, ctx, samples=16)
        rows.append((n_users * own + DOUBT * common[scale][0]) / (n_users + DOUBT))
    reached = float(np.mean([level.ndcg(row) for level, row in zip(levels[scale], rows, strict=True)]))
    return scale, np.stack(rows), reached
