"""Self-attentive sequential recommendation: every next item from a Transformer over the items before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...params import param
from .._base import Source
from ._base import SequenceParams, SequentialRecommender

if TYPE_CHECKING:
    from torch import Tensor, nn


class SASRecParams(SequenceParams):
    blocks: int = param(
        2,
        ge=1,
        le=12,
        label="Blocks",
        help="How many layers of attention. Two can tell what follows a pair of items.",
        tune=(1, 4, "linear"),
    )
    heads: int = param(
        2, ge=1, le=16, label="Heads", help="How many things each layer attends to at once. Must divide the width.", advanced=True
    )


def _network(n_items: int, max_len: int, dim: int, blocks: int, heads: int, dropout: float) -> nn.Module:
    import torch
    from torch import nn

    from ...nn.sequences import SequenceNet
    from ...nn.transformer import Transformer

    class SASRecNet(SequenceNet):
        """items + places counted from the end -> causal Transformer -> dropout -> item vectors."""

        def __init__(self) -> None:
            super().__init__(n_items, dim)
            self.place = nn.Embedding(max_len, dim)
            nn.init.normal_(self.place.weight, std=0.02)
            self.dropout = nn.Dropout(dropout)
            self.attend = Transformer(dim, blocks, heads, 1, dropout, causal=True)

        def read(self, items: Tensor) -> Tensor:
            places = torch.arange(max_len - items.shape[1], max_len, device=items.device)  # the last entry is always the last place
            return self.dropout(self.item(items) * dim**0.5 + self.place(places))  # (B, L, d)

        def encode(self, items: Tensor) -> Tensor:
            return self.dropout(self.attend(self.read(items), items != self.pad))  # (B, L, d)

        def last_state(self, items: Tensor) -> Tensor:
            return self.dropout(self.attend(self.read(items), items != self.pad, last_only=True))[:, 0]  # (B, d)

    return SASRecNet()


class SASRec(SequentialRecommender):
    """Self-attentive sequential recommendation.

    Source: Kang & McAuley 2018, https://arxiv.org/abs/1808.09781.
    Differs: softmax over all (or sampled) items instead of binary cross-entropy with one negative, which loses a third of
    NDCG (Klenitskiy & Vasilev 2023, https://arxiv.org/abs/2309.07602); norm before each part; an item bias.
    Shapes: items (B, L) -> states (B, L, d) -> scores (B, I).
    Cost: an epoch is interactions × (blocks × (6 d² + 2 L d) + d × items compared with) × 3 multiplications.
    """

    key = "sasrec"
    label = "Self-attention over the sequence (SASRec)"
    summary = "For 'what next' where the order of the last items matters and there are many histories; needs times."
    source = Source("Kang, McAuley: Self-Attentive Sequential Recommendation (2018)", "https://arxiv.org/abs/1808.09781")
    Params = SASRecParams

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.max_len, p.dim, p.blocks, p.heads, p.dropout)
