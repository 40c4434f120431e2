"""Ordered histories as training examples: windows, batches of like length, and what networks over them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.histories import Histories
from .batches import IndexBatches

POOL = 16  # batches that are sorted by length together: enough to be alike, few enough to stay mixed


@dataclass(frozen=True)
class Windows:
    """Pieces of histories. items: int64 (N, length), right-aligned, padded before; row: int64 (N,), the history
    each piece comes from; lengths: int64 (N,), entries that are no padding."""

    items: np.ndarray
    row: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.items)


def windows(histories: Histories, length: int, pad: int, overlap: int = 1, shortest: int = 2) -> Windows:
    """Every history cut from its end into pieces of `length` items, each sharing `overlap` items with the one before.

    overlap=1: every item but the first of a history follows another in exactly one piece, so nothing is lost
    and nothing counts twice. overlap=length-1: one piece for each item. The oldest piece of a history may be shorter,
    but has more than `overlap` items; histories with fewer than `shortest` items give none. Repeated items stay.
    Shapes: see `Windows`; the pieces of a history are oldest first. Cost: 8 bytes × pieces × length.
    """
    if not 0 <= overlap < length:
        raise ValueError(f"overlap must be from 0 to length - 1; got overlap={overlap}, length={length}")
    sizes, step = histories.lengths, length - overlap
    count = np.where(sizes >= max(1, shortest), np.maximum(1, -(-(sizes - overlap) // step)), 0)
    row = np.repeat(np.arange(len(sizes)), count)
    left = np.repeat(np.cumsum(count), count) - 1 - np.arange(len(row))  # pieces of the same history that come later
    end = histories.indptr[row + 1] - left * step
    begin = np.maximum(histories.indptr[row], end - length)
    at = end[:, None] - length + np.arange(length)  # (N, length)
    items = np.where(at >= begin[:, None], histories.items[np.maximum(at, 0)] if len(at) else 0, pad)
    return Windows(items.astype(np.int64), row, end - begin)


class SequenceRows:
    """Windows held as tensors, of which batches are taken, cut to the longest of the batch."""

    def __init__(self, pieces: Windows, device: torch.device | str = "cpu") -> None:
        self.items = torch.as_tensor(pieces.items, device=device)
        self.lengths = torch.as_tensor(pieces.lengths)  # stays where the batches are drawn

    def __len__(self) -> int:
        return len(self.items)

    def take(self, index: Tensor) -> Tensor:
        """int64 (B, longest of the batch), right-aligned."""
        longest = int(self.lengths[index.cpu()].max())
        return self.items[index.to(self.items.device), self.items.shape[1] - longest :]


def shuffled(items: Tensor, pad: int) -> Tensor:
    """int64 (B, L): each row's items in random order (torch's default generator), padding before them as it was."""
    lot = torch.rand(items.shape, device=items.device).masked_fill(items == pad, -1.0)
    return items.gather(1, lot.argsort(1))


class LengthBatches(IndexBatches):
    """A new random order every epoch, in batches of sequences of about the same length, so that little is padding.

    `POOL` batches' worth of the random order are sorted by length and cut; then the batches are shuffled. All chance
    is drawn from torch's default generator when the epoch starts.
    Shapes: yields int64 (B,). Cost: a permutation and a sort of n an epoch.
    """

    def __init__(self, lengths: np.ndarray | Tensor, batch_size: int) -> None:
        super().__init__(len(lengths), batch_size)
        self.lengths = torch.as_tensor(lengths)

    def __iter__(self) -> Iterator[Tensor]:
        pools = torch.randperm(self.n).split(self.batch_size * POOL)
        batches = [batch for pool in pools for batch in pool[self.lengths[pool].argsort(stable=True)].split(self.batch_size)]
        order = torch.randperm(len(batches)).tolist()
        yield from (batches[number] for number in order)


class SequenceNet(nn.Module):
    """What sequence networks share: the items' vectors going in and coming out.

    score of item i after a history = state · output_i (+ bias_i). tied: output_i is the input vector of i.
    The code n_items is padding (a vector of zeros that never learns); `extra` more codes follow it (a mask).
    Shapes: `encode` int64 (B, L) -> (B, L, d), one state after each entry. Histories are right-aligned.
    """

    def __init__(self, n_items: int, dim: int, *, tied: bool = True, bias: bool = True, extra: int = 0, std: float = 0.02) -> None:
        super().__init__()
        self.n_items, self.pad, self.dim = n_items, n_items, dim
        self.item = nn.Embedding(n_items + 1 + extra, dim, padding_idx=n_items)
        self.output = None if tied else nn.Embedding(n_items, dim)
        self.bias = nn.Parameter(torch.zeros(n_items)) if bias else None
        with torch.no_grad():
            for table in (self.item, self.output):
                if table is not None:
                    nn.init.normal_(table.weight, std=std)
            self.item.weight[self.pad] = 0

    @abstractmethod
    def encode(self, items: Tensor) -> Tensor:
        """(B, L, d): the state after each entry, from it and those before it; what stands at padding is never used."""

    def last_state(self, items: Tensor) -> Tensor:
        """(B, d): the state after the whole history."""
        return self.encode(items)[:, -1]

    @abstractmethod
    def state_after(self, vectors: Tensor) -> Tensor:
        """(B, L, d) input vectors of entries, none of them padding -> (B, d): the state after the last. What a bundle runs."""

    @property
    def output_table(self) -> Tensor:
        """(I, d): the items' vectors as scores use them."""
        return self.item.weight[: self.n_items] if self.output is None else self.output.weight

    def output_vectors(self, items: Tensor) -> Tensor:
        """(…) -> (…, d): rows of `output_table`, looked up."""
        return F.embedding(items, (self.item if self.output is None else self.output).weight)

    def scores(self, states: Tensor) -> Tensor:
        """(n, d) -> (n, I): every item."""
        return F.linear(states, self.output_table, self.bias)

    def scores_of(self, states: Tensor, items: Tensor) -> Tensor:
        """(n, d), (n,) -> (n,): one item each; (n, d), (n, N) -> (n, N): N items each."""
        vectors = self.output_vectors(items)
        found = (states * vectors).sum(-1) if items.dim() == 1 else torch.einsum("nd,nkd->nk", states, vectors)
        return found if self.bias is None else found + F.embedding(items, self.bias[:, None]).squeeze(-1)

    def scores_with(self, states: Tensor, items: Tensor, less: Tensor | None = None) -> Tensor:
        """(n, d), (N,) -> (n, N): the same N items for all, `less` (N,) taken off (a correction, in the same pass)."""
        vectors = self.output_vectors(items)
        shift = None if self.bias is None else F.embedding(items, self.bias[:, None]).squeeze(-1)
        if less is not None:
            shift = -less if shift is None else shift - less
        return F.linear(states, vectors, shift)
