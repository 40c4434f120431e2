"""Transformer blocks: attention over the entries before (and after) each one, padding left out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import Dropout


def attention_mask(present: Tensor, causal: bool) -> Tensor:
    """bool (B, 1, L, L): who may look at whom. present: bool (B, L), False at padding.

    Nobody looks at padding, except every entry at itself: so a row of nothing but padding has no empty softmax (NaN).
    causal: nobody looks at later entries.
    """
    length = present.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=present.device)
    seen = present[:, None, None, :]
    if causal:
        seen = seen & torch.ones(length, length, dtype=torch.bool, device=present.device).tril()
    return seen | itself


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x)) (the norm comes first, which trains more steadily).

    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; norm first: Xiong et al. 2020, https://arxiv.org/abs/2002.04745.
    Differs: while attention weights are dropped out, attention is computed in steps: torch's own kernel falls back to
    the same there, with a dropout that costs more (`nn.dropout`).
    Shapes: (B, L, d), mask (B, 1, L, L) -> (B, L, d). Cost: B·L·((4 + 2·wide)·d² + 2·L·d) multiplications.
    """

    def __init__(self, dim: int, heads: int, wide: int, dropout: float, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"the width must be a multiple of the number of heads; got {dim} and {heads}")
        self.heads, self.dropout = heads, Dropout(dropout)
        self.norm_attention, self.norm_network = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.merge = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.network = nn.Sequential(nn.Linear(dim, wide * dim), activation(), Dropout(dropout), nn.Linear(wide * dim, dim))

    def forward(self, x: Tensor, mask: Tensor | None, last_only: bool = False) -> Tensor:
        """mask: None where all may look at all. last_only: the last entry's output alone, (B, 1, d); the others are only looked at."""
        normed = self.norm_attention(x)
        if last_only:
            x, asking, mask = x[:, -1:], normed[:, -1:], None if mask is None else mask[:, :, -1:]
        else:
            asking = normed
        key, value = self.key_value(normed).chunk(2, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(asking), key, value))  # (B, h, L, d/h)
        looked = self.attend(q, k, v, mask)  # (B, h, L, d/h)
        x = x + self.dropout(self.merge(looked.transpose(1, 2).flatten(2)))  # (B, L, d)
        return x + self.dropout(self.network(self.norm_network(x)))

    def pass_on(self) -> None:
        """Begin with attention handing on what it looks at as it is, so that tied item vectors mean something from the start."""
        with torch.no_grad():
            for weight in (self.key_value.weight[-len(self.merge.weight) :], self.merge.weight):
                nn.init.eye_(weight)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if not self.training or not self.dropout.rate:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        return self.dropout((scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)) @ v


class Transformer(nn.Module):
    """Blocks one after the other and a last norm. Shapes: (B, L, d), bool (B, L) -> (B, L, d)."""

    def __init__(
        self, dim: int, blocks: int, heads: int, wide: int, dropout: float, *, causal: bool, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(Block(dim, heads, wide, dropout, activation) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, present: Tensor | None, last_only: bool = False) -> Tensor:
        """last_only: (B, 1, d), the state of the last entry, cheaper. present: None where nothing is padding."""
        mask = None
        if present is not None or (self.causal and not (last_only and len(self.blocks) == 1)):
            mask = attention_mask(x.new_ones(x.shape[:2], dtype=torch.bool) if present is None else present, self.causal)
        for number, block in enumerate(self.blocks, 1):
            last = last_only and number == len(self.blocks)
            x = block(x, None if last and present is None else mask, last)
        return self.norm(x)
