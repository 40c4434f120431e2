"""Where negatives come from: drawn uniformly, by popularity, from the batch, mixed, or the hardest of many.

Every sampler has two ways of asking: `sample` gives each row items of its own, `shared` one lot for the whole batch
(cheaper: each is encoded once). Both give a `Drawn`: the items, how likely each was, and which do not count.
Chance comes from torch's default generator (see `runtime.seeded`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

BITMAP_BYTES = 256 * 2**20  # above this, pairs are found by binary search instead of in a table of booleans
ROUNDS = 8  # of redrawing; what still collides is drawn exactly from what is left


T = TypeVar("T")
Score = Callable[[Tensor], Tensor]  # items (C,) or (B, C) -> scores (B, C) of the batch's rows; called without gradient


@dataclass(frozen=True)
class Drawn:
    """items: int64 (B, N) each row's own, or (N,) shared. log_q: float of the same shape, log-probability of the draw
    behind each (what `losses.sampled_logsumexp` wants). excluded: bool (B, N), what must not count: known positives."""

    items: Tensor
    log_q: Tensor
    excluded: Tensor | None = None


class Sampler(Protocol):
    """users: int64 (B,) rows of the table of positives. batch_items: int64 (m,), the items of the batch (used by in_batch
    and mixed). score: what tells hard items (used by hard)."""

    def sample(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn: ...

    def shared(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn: ...


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
    """

    def __init__(
        self, n_items: int, positives: PairTable | None = None, weights: np.ndarray | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.n_items, self.positives, self.device = n_items, positives, device
        # Apple's graphics chips have no float64; there items rarer than one in some ten million are never drawn.
        self.kind = torch.float32 if torch.device(device).type == "mps" else torch.float64
        share = np.full(n_items, 1 / n_items) if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
        with np.errstate(divide="ignore"):
            self.log_q = torch.as_tensor(np.log(share), dtype=torch.float32, device=device)
        self.share = torch.as_tensor(share).to(self.kind).to(device)
        self.cumulative = None if weights is None else torch.as_tensor(np.cumsum(share)).to(self.kind).to(device)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """int64 of `shape`; nothing is refused. Cost: log2(I) steps a draw, one when uniform."""
        if self.cumulative is None:
            return torch.randint(self.n_items, shape, device=self.device)
        uniform = torch.rand(shape, dtype=self.kind, device=self.device) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, uniform, right=True).clamp(max=self.n_items - 1)

    def sample(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn:
        """Positives are refused; log_q is the probability given that, and only rows with nothing left are excluded."""
        items = self.negatives(users, n)
        if self.positives is None:
            return Drawn(items, self.log_q[items])
        none_left = items < 0
        items = items.clamp(min=0)
        return Drawn(items, self.log_q[items] - self.log_left[users][:, None], none_left)

    def shared(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn:
        """The same n for all rows; each row's positives among them are excluded."""
        items = self.draw((n,))
        return Drawn(items, self.log_q[items], _known(self.positives, users, items))

    @cached_property
    def log_left(self) -> Tensor:
        """float (U,): log of the probability that a draw is no positive of the user."""
        keys = self.positives.keys
        refused = torch.bincount(keys // self.n_items, self.share[keys % self.n_items], minlength=self.positives.n_rows)
        return torch.log1p(-refused.clamp(max=1 - 1e-12)).float()

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


class BatchSampler:
    """Items of the batch (popular ones come often), or mixed with draws of another sampler. in_batch: share = 1.

    share: probability that a negative comes from the batch; `rest` draws the others, so that items which are in no
    batch are learnt about too. counts: (I,) how often each item is in the training batches. log_q: of the mixture.
    Known positives, and with them the row's own item, are excluded.
    Source: Yi et al. 2019 (https://doi.org/10.1145/3298689.3346996); Yang et al. 2020, mixed negative sampling
    (https://doi.org/10.1145/3366424.3386195). Differs: each negative is drawn from the mixture, instead of two fixed lots.
    """

    def __init__(self, counts: np.ndarray, rest: NegativeSampler, share: float = 1.0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1; got {share}")
        self.rest, self.share, self.positives = rest, share, rest.positives
        often = np.maximum(np.asarray(counts, np.float64), 1)
        mixture = share * often / often.sum() + (1 - share) * rest.share.cpu().numpy()
        self.log_q = torch.as_tensor(np.log(mixture), dtype=torch.float32, device=rest.device)

    def _draw(self, batch_items: Tensor, shape: tuple[int, ...]) -> Tensor:
        items = batch_items[torch.randint(len(batch_items), shape, device=batch_items.device)]
        if self.share == 1:
            return items
        from_batch = torch.rand(shape, device=items.device) < self.share
        return torch.where(from_batch, items, self.rest.draw(shape))

    def sample(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn:
        items = self._draw(_given(batch_items, "batch_items"), (len(users), n))
        return Drawn(items, self.log_q[items], _known(self.positives, users, items))

    def shared(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn:
        """At most n; with share = 1 each place of the batch at most once."""
        batch_items = _given(batch_items, "batch_items")
        if self.share == 1:
            order = torch.randperm(len(batch_items), device=batch_items.device)[:n]
            items = batch_items[order]
        else:
            items = self._draw(batch_items, (n,))
        return Drawn(items, self.log_q[items], _known(self.positives, users, items))


class HardSampler:
    """Of `multiple` times as many draws of another sampler, the ones the model now scores highest.

    log_q is that of the draw among all candidates: a sampled softmax then sums the kept part of them exactly.
    Source: Zhang et al. 2013, dynamic negative sampling (https://doi.org/10.1145/2484028.2484126).
    Cost: `multiple` times the scoring, without gradient. Too large a multiple finds positives nobody has seen yet.
    """

    def __init__(self, base: NegativeSampler | BatchSampler, multiple: int = 4) -> None:
        if multiple < 1:
            raise ValueError(f"multiple must be at least 1; got {multiple}")
        self.base, self.multiple = base, multiple

    def sample(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn:
        """Each row keeps its own n hardest."""
        drawn = self.base.sample(users, n * self.multiple, batch_items=batch_items)
        kept = self._scores(drawn, score).topk(n, dim=1).indices
        excluded = None if drawn.excluded is None else drawn.excluded.gather(1, kept)
        return Drawn(drawn.items.gather(1, kept), drawn.log_q.gather(1, kept) + math.log(self.multiple), excluded)

    def shared(self, users: Tensor, n: int, *, batch_items: Tensor | None = None, score: Score | None = None) -> Drawn:
        """The n whose highest score among the rows is highest."""
        drawn = self.base.shared(users, n * self.multiple, batch_items=batch_items)
        kept = self._scores(drawn, score).amax(0).topk(min(n, len(drawn.items))).indices
        excluded = None if drawn.excluded is None else drawn.excluded[:, kept]
        return Drawn(drawn.items[kept], drawn.log_q[kept] + math.log(len(drawn.items) / len(kept)), excluded)

    def _scores(self, drawn: Drawn, score: Score | None) -> Tensor:
        with torch.no_grad():
            scores = _given(score, "score")(drawn.items)
            return scores if drawn.excluded is None else scores.masked_fill(drawn.excluded, -torch.inf)


def _given(value: T | None, name: str) -> T:
    if value is None:
        raise ValueError(f"this sampler needs {name}")
    return value


def _known(positives: PairTable | None, users: Tensor, items: Tensor) -> Tensor | None:
    """bool (B, N); items (N,) or (B, N)."""
    if positives is None:
        return None
    return positives.contains(users[:, None], items)


SamplerKind = Literal["uniform", "popularity", "in_batch", "hard", "mixed"]
SAMPLERS: tuple[str, ...] = get_args(SamplerKind)


def make_sampler(
    kind: SamplerKind,
    n_items: int,
    positives: PairTable | None = None,
    counts: np.ndarray | None = None,
    *,
    alpha: float = 0.0,
    multiple: int = 4,
    share: float = 0.5,
    device: torch.device | str = "cpu",
) -> Sampler:
    """The sampler named `kind`.

    counts: (I,) interactions an item, needed by in_batch, mixed and wherever alpha > 0. alpha: draws that do not come
    from the batch are by popularity^alpha. multiple: candidates a negative of hard. share: part of mixed from the batch.
    """
    if kind not in SAMPLERS:
        raise ValueError(f"unknown sampler {kind!r}; there are {', '.join(SAMPLERS)}")
    weights = popularity_weights(_given(counts, "counts"), alpha) if alpha else None
    base = NegativeSampler(n_items, positives, weights, device)
    if kind in ("in_batch", "mixed"):
        return BatchSampler(_given(counts, "counts"), base, share if kind == "mixed" else 1.0)
    return HardSampler(base, multiple) if kind == "hard" else base


def popularity_weights(counts: np.ndarray, alpha: float) -> np.ndarray:
    """float64 (I,): (count + 1)^alpha; 0 = uniform, 1 = by popularity, 0.75 as in word2vec."""
    return (np.asarray(counts, np.float64) + 1) ** alpha
