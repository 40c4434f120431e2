"""BERT for recommendation: hides items of a history and learns to fill them in from both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.dataset import Dataset, DatasetStats
from ...params import param
from .._base import Cost, Source
from ..deep._training import averaging_param, learning_rate_param, patience_param
from ._base import SequenceParams, SequentialRecommender, dropout_for, sequence_cost, sequences_a_step

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches


class BERT4RecParams(SequenceParams):
    epochs: int = param(
        100,
        ge=1,
        le=10_000,
        fast=60,
        thorough=1000,
        label="Passes over the data, at most",
        help="How often the model goes through the data; it still gains slowly after hundreds of passes. Training stops earlier when "
        "the validation lists no longer improve.",
    )
    learning_rate: float = learning_rate_param(0.005, 3e-4, 1e-2)
    patience: int = patience_param(15, fast=10, thorough=60)
    averaging: float = averaging_param(0.98)
    dropout: float | Literal["auto"] = param(
        "auto",
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the numbers switched off at each learning step, against learning by heart. "
        "Automatic: the more, the fewer interactions an item has.",
        tune=(0.0, 0.7, "linear"),
    )
    blocks: int = param(2, ge=1, le=12, label="Blocks", help="How many layers of attention.", tune=(1, 4, "linear"))
    heads: int = param(
        2, ge=1, le=16, label="Heads", help="How many things each layer attends to at once. Must divide the width.", advanced=True
    )
    mask_share: float = param(
        0.6,
        gt=0,
        lt=1,
        label="Share of items hidden",
        help="How many items of a history are hidden at once. More means more to learn from each pass, with less to go by.",
        tune=(0.1, 0.8, "linear"),
    )
    last_share: float = param(
        0.25,
        ge=0,
        le=1,
        label="Only the last hidden",
        help="Share of the histories that end at a random item, which alone is hidden: what comes next, as in lists.",
        tune=(0.0, 0.8, "linear"),
        advanced=True,
    )


def _network(n_items: int, max_len: int, dim: int, blocks: int, heads: int, dropout: float) -> nn.Module:
    import torch
    from torch import nn

    from ...nn.dropout import Dropout
    from ...nn.sequences import SequenceNet
    from ...nn.transformer import Transformer

    class BERT4RecNet(SequenceNet):
        """items (some hidden) + places counted from the end -> Transformer that sees both sides -> GELU layer -> item vectors."""

        def __init__(self) -> None:
            super().__init__(n_items, dim, extra=1)
            self.mask = n_items + 1
            with torch.no_grad():
                self.item.weight[self.mask] = 0  # so that what attention brings is not drowned at first
            self.place = nn.Embedding(max_len, dim)
            nn.init.normal_(self.place.weight, std=0.02)
            self.dropout = Dropout(dropout)
            self.attend = Transformer(dim, blocks, heads, 2, dropout, causal=False, activation=nn.GELU)
            self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim))
            nn.init.eye_(self.head[0].weight)
            for block in self.attend.blocks:
                block.pass_on()

        def placed(self, vectors: Tensor) -> Tensor:
            places = torch.arange(max_len - vectors.shape[1], max_len, device=vectors.device)  # the last entry is always the last place
            return self.dropout((vectors + self.place(places)) * dim**0.5)  # (B, L, d)

        def encode(self, items: Tensor) -> Tensor:
            return self.head(self.attend(self.placed(self.item(items)), items != self.pad))  # (B, L, d)

        def state_after(self, vectors: Tensor) -> Tensor:
            """The last entry is the hidden item."""
            return self.head(self.attend(self.placed(vectors), None, last_only=True))[:, 0]  # (B, d)

        def last_state(self, items: Tensor) -> Tensor:
            hidden = torch.full_like(items[:, :1], self.mask)
            items = torch.cat([items[:, max(0, items.shape[1] + 1 - max_len) :], hidden], 1)  # what comes next is the hidden item
            return self.head(self.attend(self.placed(self.item(items)), items != self.pad, last_only=True))[:, 0]  # (B, d)

    return BERT4RecNet()


class BERT4Rec(SequentialRecommender):
    """Bidirectional encoder over the sequence.

    Source: Sun et al. 2019, https://arxiv.org/abs/1904.06690; that it needs far more passes than others, or it looks weak:
    Petrov & Macdonald 2022, https://arxiv.org/abs/2207.07483.
    Differs: norm before each part, whose networks are twice as wide as the state, not four times; a share of the histories is
    cut at a random item, which alone is hidden, and weighs as much as that share (the paper adds one copy of each history with
    its last item hidden, whose single place hardly counts and is soon learnt by heart); it begins near an average of the
    other items' vectors, without which a small net idles for dozens of passes; what is hidden is drawn anew in every
    pass instead of ten times beforehand.
    Shapes: items (B, L) -> states (B, L, d) -> scores (B, I).
    Cost: an epoch is interactions × (blocks × (8 d² + 2 L d) + share hidden × d × items compared with) × 3 multiplications.
    """

    key = "bert4rec"
    label = "Masked items in a sequence (BERT4Rec)"
    summary = (
        "Fills gaps in a history from both sides; needs times, many histories and long training, and on small data "
        "SASRec or item neighbours in order say better what comes next."
    )
    source = Source(
        "Sun, Liu, Wu, Pei, Lin, Ou, Jiang: BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations (2019)",
        "https://arxiv.org/abs/1904.06690",
    )
    Params = BERT4RecParams
    full_softmax_items = 1_000

    @classmethod
    def auto_params(cls, params: Any, stats: DatasetStats) -> dict[str, Any]:
        return super().auto_params(params, stats) | {
            "batch_size": max(8, sequences_a_step(params, stats) // 2),
            "dropout": dropout_for(stats),
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        block = 8 * p.dim**2 + 2 * p.max_len * p.dim
        compared = p.with_(negatives=max(1, round(p.mask_share * p.negatives))) if p.loss != "full_softmax" else p
        return sequence_cost(stats, compared, 8 * p.blocks * p.dim**2, p.blocks * block, 24 * p.blocks * p.dim, 50)

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.max_len, p.dim, p.blocks, p.heads, p.dropout)

    def _reading(self) -> dict[str, Any]:
        return super()._reading() | {"ends_with": self.network.mask}

    def _with_end(self, items: np.ndarray) -> np.ndarray:
        return np.column_stack([items[:, 1:], np.full(len(items), self.network.mask)])

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        import torch

        from ...nn.sequences import LengthBatches, SequenceRows, shuffled

        p, network = self.resolved, self.network
        pieces = self._pieces(data, p.max_len, overlap=0)
        rows, choice = SequenceRows(pieces, device), self._choice_loss(data, device)

        def loss(index: Tensor, step: int) -> Tensor:
            items = shuffled(rows.take(index), network.pad) if p.asked == "any" else rows.take(index)
            only_last = torch.rand(len(items), 1, device=items.device) < p.last_share
            items = forget_later(items, only_last, network.pad)
            hidden = hide(items != network.pad, p.mask_share, only_last)
            states = network.encode(items.masked_fill(hidden, network.mask)).flatten(0, 1)
            total = states.new_zeros(())
            for rows_of_a_kind in (only_last, ~only_last):
                place = (hidden & rows_of_a_kind).flatten().nonzero().squeeze(1)
                if len(place):
                    told = choice(states.index_select(0, place), items.flatten()[place])
                    total = total + told * rows_of_a_kind.float().mean()
            return total

        return LengthBatches(pieces.lengths, p.batch_size), loss


def forget_later(items: Tensor, rows: Tensor, pad: int) -> Tensor:
    """int64 (B, L): the rows named (bool (B, 1)) end at a random one of their items, at the second or later; right-aligned again.

    So what is hidden at the end is another item in each pass; the ends of the histories alone are learnt by heart.
    """
    import torch

    lengths = (items != pad).sum(1, keepdim=True)
    kept = 2 + (torch.rand(lengths.shape, device=items.device) * (lengths - 1)).long()  # 2 … length
    shift = (lengths - kept).clamp(min=0) * rows
    source = torch.arange(items.shape[1], device=items.device) - shift  # (B, L)
    return items.gather(1, source.clamp(min=0)).masked_fill(source < 0, pad)


def hide(present: Tensor, share: float, only_last: Tensor) -> Tensor:
    """bool (B, L): what to hide: of the rows only_last (bool (B, 1)) the last entry; of others each with chance `share`, at least one.

    present: bool (B, L), right-aligned, at least one a row. Chance comes from torch's default generator.
    """
    import torch

    batch, length = present.shape
    lot = torch.rand(batch, length, device=present.device).masked_fill(~present, 2.0)
    hidden = (lot < share) | (lot == lot.min(1, keepdim=True).values)  # the smallest lot is always hidden
    last = torch.arange(length, device=present.device) == length - 1
    return torch.where(only_last, last, hidden & present)
