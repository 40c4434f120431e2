"""Self-attentive sequential recommendation: every next item from a Transformer over the items before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ...data.dataset import DatasetStats
from ...params import param
from .._base import Cost, Source
from ..deep._training import averaging_param, learning_rate_param, patience_param
from ._base import SequenceParams, SequentialRecommender, dropout_for, sequence_cost, sequences_a_step

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDE = 4  # the inner layer of a block, in widths


class SASRecParams(SequenceParams):
    learning_rate: float = learning_rate_param(0.004, 3e-4, 1e-2)
    patience: int = patience_param(10, fast=5, thorough=25)
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

    from ...nn.dropout import Dropout
    from ...nn.sequences import SequenceNet
    from ...nn.transformer import Transformer

    class SASRecNet(SequenceNet):
        """items + places counted from the end -> causal Transformer -> dropout -> item vectors."""

        def __init__(self) -> None:
            super().__init__(n_items, dim)
            self.place = nn.Embedding(max_len, dim)
            nn.init.normal_(self.place.weight, std=0.02 * dim**0.5)  # as large as what it is added to, or order is found late
            self.dropout = Dropout(dropout)
            self.attend = Transformer(dim, blocks, heads, WIDE, dropout, causal=True)

        def placed(self, vectors: Tensor) -> Tensor:
            places = torch.arange(max_len - vectors.shape[1], max_len, device=vectors.device)  # the last entry is always the last place
            return self.dropout(vectors * dim**0.5 + self.place(places))  # (B, L, d)

        def encode(self, items: Tensor) -> Tensor:
            return self.dropout(self.attend(self.placed(self.item(items)), items != self.pad))  # (B, L, d)

        def last_state(self, items: Tensor) -> Tensor:
            return self.dropout(self.attend(self.placed(self.item(items)), items != self.pad, last_only=True))[:, 0]  # (B, d)

        def state_after(self, vectors: Tensor) -> Tensor:
            return self.attend(self.placed(vectors), None, last_only=True)[:, 0]  # (B, d)

    return SASRecNet()


class SASRec(SequentialRecommender):
    """Self-attentive sequential recommendation.

    Source: Kang & McAuley 2018, https://arxiv.org/abs/1808.09781.
    Differs: softmax over all (or sampled) items instead of binary cross-entropy with one negative, which loses a third of
    NDCG (Klenitskiy & Vasilev 2023, https://arxiv.org/abs/2309.07602); norm before each part; an item bias; inner layers four
    widths wide (paper: one); places start as large as the scaled item vectors. With small places the network looked at items
    alone for some thirty passes before it found their order (validation NDCG@20 after some 30 passes on sequences made by a
    second-order law: 0.39, with larger places 0.40, with wider layers too 0.51).
    Shapes: items (B, L) -> states (B, L, d) -> scores (B, I).
    Cost: an epoch is interactions × (blocks × (12 d² + 2 L d) + d × items compared with) × 3 multiplications.
    """

    key = "sasrec"
    label = "Self-attention over the sequence (SASRec)"
    summary = "For 'what next' where it depends on several recent items and their order; wants some thousand histories, and times."
    source = Source("Kang, McAuley: Self-Attentive Sequential Recommendation (2018)", "https://arxiv.org/abs/1808.09781")
    Params = SASRecParams
    full_softmax_items = 1_000

    @classmethod
    def auto_params(cls, params: Any, stats: DatasetStats) -> dict[str, Any]:
        return super().auto_params(params, stats) | {
            "batch_size": sequences_a_step(params, stats, steps=64),
            "dropout": dropout_for(stats),
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        return sequence_cost(
            stats, p, 12 * p.blocks * p.dim**2, p.blocks * (12 * p.dim**2 + 2 * p.max_len * p.dim), 20 * p.blocks * p.dim, 50
        )

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.max_len, p.dim, p.blocks, p.heads, p.dropout)
