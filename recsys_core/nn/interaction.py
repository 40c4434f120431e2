"""The two-branch user-item network of neural collaborative filtering, computed for pairs or whole blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import MLP


class InteractionNet(nn.Module):
    """score(u, i) = w · (p_u * q_i) + MLP([p'_u, q'_i]) + b_i.

    p, q: `factors` numbers each (the product branch); p', q': `hidden` numbers each, the first MLP layer
    of user and item, kept as embeddings: W[a, b] = W_u a + W_i b, so scoring a block of users × items
    needs the wide layer once a user and once an item instead of once a pair.
    Source: He et al. 2017 (https://arxiv.org/abs/1708.05031), eq. 12.
    Differs: first MLP layer as above; an item bias.
    Shapes: users (B, factors + hidden), items (N, factors + hidden), see `pairs` and `block`.
    """

    def __init__(self, n_users: int, n_items: int, factors: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.split = [factors, hidden]
        self.user = nn.Embedding(n_users, factors + hidden)
        self.item = nn.Embedding(n_items, factors + hidden)
        self.item_bias = nn.Embedding(n_items, 1)
        self.product = nn.Parameter(torch.ones(factors))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.dropout = nn.Dropout(dropout)
        widths = [max(4, hidden >> level) for level in range(layers)]
        self.tower = MLP([*widths, 1])
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.zeros_(self.item_bias.weight)

    def users(self, codes: Tensor) -> Tensor:
        """int64 (B,) -> (B, f + h): the first argument of `pairs` and `block`."""
        return self.dropout(self.user(codes))

    def items(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (N,) -> vectors (N, f + h), biases (N,): the last two arguments of `pairs` and `block`."""
        return self.dropout(self.item(codes)), self.item_bias(codes).squeeze(-1)

    def pairs(self, users: Tensor, items: Tensor, bias: Tensor) -> Tensor:
        """(n, f + h), (n, f + h), (n,) -> (n,): one score a pair."""
        p, a = users.split(self.split, 1)
        q, b = items.split(self.split, 1)
        wide = torch.relu(a + b + self.hidden_bias)
        return (p * q) @ self.product + self.tower(wide).squeeze(-1) + bias

    def block(self, users: Tensor, items: Tensor, bias: Tensor) -> Tensor:
        """(B, f + h), (N, f + h), (N,) -> (B, N): every user with every item."""
        p, a = users.split(self.split, 1)
        q, b = items.split(self.split, 1)
        wide = torch.relu(a[:, None] + (b + self.hidden_bias))  # (B, N, h)
        return (p * self.product) @ q.T + self.tower(wide).squeeze(-1) + bias
