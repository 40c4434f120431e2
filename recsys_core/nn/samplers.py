"""Where negatives come from: items drawn uniformly or by popularity, known positives refused."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

BITMAP_BYTES = 256 * 2**20  # above this, pairs are found by binary search instead of in a table of booleans
ROUNDS = 8  # of redrawing; what still collides is drawn exactly from what is left


class PairTable:
    """Answers "is (user, item) a positive?" for arrays of pairs.

    Cost: users × items bytes and one look-up a pair, or 8 bytes a positive and log2(positives) steps a pair.
    """

    def __init__(self, positives: sparse.csr_matrix, device: torch.device | str = "cpu") -> None:
        self.n_rows, self.n_items = positives.shape
        user = np.repeat(np.arange(self.n_rows, dtype=np.int64), np.diff(positives.indptr))
        keys = torch.as_tensor(np.sort(user * self.n_items + positives.indices), device=device)
        self.keys = keys
        self.bitmap: Tensor | None = None
        if self.n_rows * self.n_items <= BITMAP_BYTES:
            self.bitmap = torch.zeros(self.n_rows * self.n_items, dtype=torch.bool, device=device)
            self.bitmap[keys] = True

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """bool, of the broadcast shape of users and items."""
        keys = users * self.n_items + items
        if self.bitmap is not None:
            return self.bitmap[keys]
        if len(self.keys) == 0:
            return torch.zeros_like(keys, dtype=torch.bool)
        at = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return self.keys[at] == keys


class NegativeSampler:
    """Draws items with replacement, with probability proportional to weights (uniform when None).

    popularity^α: pass `popularity_weights(counts, α)`. log_q: float (I,), log-probability of each item.
    Chance comes from torch's default generator (see `runtime.seeded`).
    """

    def __init__(
        self, n_items: int, positives: PairTable | None = None, weights: np.ndarray | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.n_items, self.positives, self.device = n_items, positives, device
        share = np.full(n_items, 1 / n_items) if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
        with np.errstate(divide="ignore"):
            self.log_q = torch.as_tensor(np.log(share), dtype=torch.float32, device=device)
        self.cumulative = None if weights is None else torch.as_tensor(np.cumsum(share), device=device)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """int64 of `shape`; nothing is refused. Cost: log2(I) steps a draw, one when uniform."""
        if self.cumulative is None:
            return torch.randint(self.n_items, shape, device=self.device)
        uniform = torch.rand(shape, dtype=torch.float64, device=self.device) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, uniform, right=True).clamp(max=self.n_items - 1)

    def negatives(self, users: Tensor, n: int) -> Tensor:
        """int64 (B, n): items that are no positives of each row's user, distributed as `draw` given that.

        A user for whom nothing is left gets -1. Cost: about one draw and one look-up each, a few more
        where users have most of the catalogue.
        """
        items = self.draw((len(users), n))
        if self.positives is None:
            return items
        row = torch.arange(len(users), device=users.device).repeat_interleave(n)
        flat = items.flatten()
        bad = self.positives.contains(users[row], flat).nonzero().squeeze(1)
        for _ in range(ROUNDS):
            if len(bad) == 0:
                return flat.view(len(users), n)
            flat[bad] = self.draw((len(bad),))
            bad = bad[self.positives.contains(users[row[bad]], flat[bad])]
        flat[bad] = self._exactly(users[row[bad]])
        return flat.view(len(users), n)

    def _exactly(self, users: Tensor) -> Tensor:
        """int64 (m,): one item each from what is left to the user; -1 if nothing is. Blocks of at most 64 MiB."""
        share = self.log_q.exp()
        every = torch.arange(self.n_items, device=users.device)
        drawn = []
        for block in users.split(max(1, 2**24 // self.n_items)):
            left = share.masked_fill(self.positives.contains(block[:, None], every), 0.0)
            empty = left.sum(1) == 0
            left[empty] = 1.0
            drawn.append(torch.multinomial(left, 1).squeeze(1).masked_fill(empty, -1))
        return torch.cat(drawn) if drawn else users.new_empty(0)


def popularity_weights(counts: np.ndarray, alpha: float) -> np.ndarray:
    """float64 (I,): (count + 1)^alpha; 0 = uniform, 1 = by popularity, 0.75 as in word2vec."""
    return (np.asarray(counts, np.float64) + 1) ** alpha
