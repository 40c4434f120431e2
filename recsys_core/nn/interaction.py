"""Networks that score a user vector with an item vector, computed for pairs or whole blocks: neural collaborative filtering."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from .blocks import MLP


class PairNet(nn.Module):
    """score(u, i) = w · (p * q) + MLP(a + b) + the item's bias, of u = [p, a] and i = [q, b].

    p, q: `factors` numbers (the product part; none with factors = 0); a, b: `hidden` numbers, the first MLP layer's share
    of the user and of the item (no MLP with hidden = 0): W[x, y] = W_u x + W_i y, so a block of users × items needs the
    wide layer once a user and once an item instead of once a pair. weighted: whether w is learnt, else it is 1.
    The first activation is relu(x)², the others relu: (a + b)² holds the products a·b that tell tastes, which plain relu
    finds late and badly. Source: So et al. 2021, Primer (https://arxiv.org/abs/2109.08668), section 4.
    Subclasses give the vectors: `users(codes)`, `items(codes)` while learning, `user_vectors()`, `item_vectors()` of everyone.
    Shapes: users (B, factors + hidden), items (N, factors + hidden), see `pairs` and `block`.
    """

    def __init__(self, factors: int, hidden: int, layers: int, *, weighted: bool = True) -> None:
        super().__init__()
        self.split = [factors, hidden]
        self.product = nn.Parameter(torch.ones(factors)) if weighted and factors else None
        self.hidden_bias = nn.Parameter(torch.zeros(hidden)) if hidden else None
        widths = [max(4, hidden >> level) if level else hidden for level in range(layers)]
        self.tower = MLP([*widths, 1], partial(nn.ReLU, inplace=True)) if hidden else None
        for layer in self.tower.layers if self.tower is not None else ():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def _branches(self, users: Tensor, items: Tensor, block: bool) -> list[Tensor]:
        """The scores of the product and of the MLP, of pairs (n,) or of a block (B, N); only the one there is."""
        (p, a), (q, b) = users.split(self.split, 1), items.split(self.split, 1)
        parts = []
        if self.split[0]:
            p = p if self.product is None else p * self.product
            parts.append(p @ q.T if block else (p * q).sum(1))
        if self.tower is not None:
            b = b + self.hidden_bias
            wide = torch.relu_(a[:, None] + b if block else a + b).square()  # (…, h)
            parts.append(self.tower(wide).squeeze(-1))
        return parts

    def pairs(self, users: Tensor, items: Tensor, bias: Tensor) -> Tensor:
        """(n, f + h), (n, f + h), (n,) -> (n,): one score a pair."""
        return sum(self._branches(users, items, False), bias)

    def block(self, users: Tensor, items: Tensor, bias: Tensor) -> Tensor:
        """(B, f + h), (N, f + h), (N,) -> (B, N): every user with every item."""
        return sum(self._branches(users, items, True), bias)


class InteractionNet(PairNet):
    """The two-branch network of neural collaborative filtering; one branch alone with factors = 0 or hidden = 0.

    Source: He et al. 2017 (https://arxiv.org/abs/1708.05031), eq. 8 (product), 10 (MLP), 12 (both).
    Differs: the embeddings of the MLP are its first layer's output (see `PairNet`); an item bias.
    Shapes: users (B, factors + hidden), items (N, factors + hidden).
    """

    def __init__(self, n_users: int, n_items: int, factors: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(factors, hidden, layers)
        self.user = nn.Embedding(n_users, factors + hidden)
        self.item = nn.Embedding(n_items, factors + hidden)
        self.item_bias = nn.Embedding(n_items, 1)
        self.dropout = nn.Dropout(dropout)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight[:, :factors], std=0.1)
            nn.init.normal_(table.weight[:, factors:], std=0.15)
        nn.init.zeros_(self.item_bias.weight)

    def users(self, codes: Tensor) -> Tensor:
        """int64 (B,) -> (B, f + h): the first argument of `pairs` and `block`."""
        return self.dropout(self.user(codes))

    def items(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """int64 (N,) -> vectors (N, f + h), biases (N,): the last two arguments of `pairs` and `block`."""
        return self.dropout(self.item(codes)), self.item_bias(codes).squeeze(-1)

    def user_vectors(self) -> Tensor:
        """(U, f + h): everyone, without dropout."""
        return self.user.weight.detach()

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """(I, f + h), (I,): everything, without dropout."""
        return self.item.weight.detach(), self.item_bias.weight.detach().squeeze(1)

    @torch.no_grad()
    def join(self, product: InteractionNet, tower: InteractionNet, alpha: float = 0.5) -> None:
        """Start from two trained branches: this network then scores alpha × product + (1 - alpha) × tower, exactly.

        Source: He et al. 2017, section 3.4.1 and eq. 13. Shapes: product (f, 0), tower (0, h) for this (f, h).
        """
        for own in ("user", "item"):
            both = torch.cat([getattr(product, own).weight, getattr(tower, own).weight], 1)
            getattr(self, own).weight.copy_(both)
        self.item_bias.weight.copy_(alpha * product.item_bias.weight + (1 - alpha) * tower.item_bias.weight)
        self.product.copy_(alpha * product.product)
        self.hidden_bias.copy_(tower.hidden_bias)
        self.tower.load_state_dict(tower.tower.state_dict())
        last = self.tower.layers[-1]
        last.weight.mul_(1 - alpha)
        last.bias.mul_(1 - alpha)
