"""The base network of the models that adapt: items by content and id, and the small network that becomes a user's own."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn.field_embeddings import FieldEmbeddings, FieldRows, Layout
from .._inputs import Inputs
from ._text_tower import TextTower

START = 0.1  # deviation of untrained vectors
HEADS = 2
FAR = -1e9  # logit of what must not be looked at


class World(NamedTuple):
    """What all users share at one step: N items. vectors, roles (N, d): scored, and read when shown; biases (N,); more (N,): what
    sampled items stand for, added in the logarithm."""

    vectors: Tensor
    roles: Tensor
    biases: Tensor
    more: Tensor


class Task(NamedTuple):
    """One user (vmapped: a leading dimension). S items shown, of which some are padding.

    shown: int64 (S,) places in the world; there: bool (S,); values: float (S,) standardised ratings, 0 without; user (d,): by their
    columns; wanted (N,): weights of the items to be found, adding up to 1 (ratings: 1 where there is one); rated (N,): the ratings."""

    shown: Tensor
    there: Tensor
    values: Tensor
    user: Tensor
    wanted: Tensor
    rated: Tensor


class Attention(nn.Module):
    """A Transformer block whose slopes can be differentiated again and vmapped (torch's fused attention cannot).

    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, norm first. Shapes: (…, L, d), bool (…, L) -> (…, L, d).
    """

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_network = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.key, self.value, self.merge = (nn.Linear(size, size) for _ in range(4))
        self.wide, self.narrow, self.dropout = nn.Linear(size, 2 * size), nn.Linear(2 * size, size), dropout
        self.heads = HEADS if size % HEADS == 0 else 1
        for linear in (self.value, self.merge):
            nn.init.eye_(linear.weight)  # begins by handing on what it looks at

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        normed = self.norm_attention(x)
        q, k, v = (part(normed).unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in (self.query, self.key, self.value))
        seen = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~there[..., None, None, :], FAR).softmax(-1)
        x = x + self.merge((seen @ v).transpose(-2, -3).flatten(-2))  # (…, L, d)
        return x + self.narrow(F.dropout(F.relu(self.wide(self.norm_network(x))), self.dropout, self.training))


class Core(nn.Module):
    """The network that adapts: (items shown, the user's columns) -> the user's vector.

    transformer: a token of the user looks at the items shown; mlp: the user's columns alone. Then dropout, and a fully connected layer
    beside a linear one. Shapes: tokens (…, S, d), there bool (…, S), user (d,) -> (…, d).
    """

    def __init__(self, size: int, encoder: str, blocks: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.start, self.taste = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))
        self.blocks = nn.ModuleList(Attention(size, dropout) for _ in range(blocks if encoder == "transformer" else 0))
        self.norm = nn.LayerNorm(size) if self.blocks else None
        self.reads = len(self.blocks) > 0  # the items shown, before any step
        self.inside, self.outside, self.straight = nn.Linear(size, hidden), nn.Linear(hidden, size), nn.Linear(size, size)
        self.dropout = dropout

    def forward(self, tokens: Tensor, there: Tensor, user: Tensor) -> Tensor:
        x = self.start + user
        if self.norm is not None:
            x = torch.cat([x.expand(*tokens.shape[:-2], 1, -1), tokens], -2)
            there = torch.cat([torch.ones_like(there[..., :1]), there], -1)
            for block in self.blocks:
                x = block(x, there)
            x = self.norm(x[..., 0, :])
        else:
            x = x.expand(*tokens.shape[:-2], -1)
        hidden = F.dropout(F.relu(self.inside(x)), self.dropout, self.training)
        return self.straight(x) + self.outside(hidden) + self.taste


class MetaNet(nn.Module):
    """Items and users by their columns (shared by all users, learnt by all), the core, and the sizes of its steps."""

    def __init__(self, inputs: Inputs, prior: Tensor, params: Any, adapted: list[str] | None = None) -> None:
        """prior: float (I,), what the items' biases start from. adapted: weights of the core that adapt, all when None."""
        super().__init__()
        size, n_items = params.factors, len(inputs.known)
        self.size = size
        self.register_buffer("known", torch.as_tensor(inputs.known), persistent=False)
        self.item_rows = FieldRows(inputs.items.matrix, inputs.item_layout)
        self.item_fields = FieldEmbeddings(inputs.item_layout, size, 0.0, START, params.text_numbers)
        self.user_rows = FieldRows(inputs.users, inputs.user_table) if inputs.user_fields else None
        self.user_fields = FieldEmbeddings(inputs.user_table, size, 0.0, START, params.text_numbers) if inputs.user_fields else None
        self.vector, self.role, self.lean = (nn.Linear(size, n, bias=False) for n in (size, size, 1))
        self.rating = nn.Linear(1, size, bias=False)
        nn.init.zeros_(self.rating.weight)
        self.ids = params.ids
        if params.ids:
            self.vector_id, self.role_id, self.bias = nn.Embedding(n_items, size), nn.Embedding(n_items, size), nn.Embedding(n_items, 1)
            for table in (self.vector_id, self.role_id):
                nn.init.normal_(table.weight, std=START)
            with torch.no_grad():
                self.bias.weight[:, 0] = prior
        self.texts: TextTower | None = None  # where the last layer of a sentence encoder learns too
        self.new_item: nn.ParameterDict | None = None  # what an item is whose id tells nothing, beside its columns, and how it is placed
        if params.tasks == "users and items":
            start = {"vector": torch.zeros(size), "bias": torch.zeros(1)}
            start |= {"log_rate": torch.tensor([0.0, -2.0]), "log_trust": torch.tensor(0.5)}
            self.new_item = nn.ParameterDict({name: nn.Parameter(value) for name, value in start.items()})
        self.core = Core(size, params.encoder, params.blocks, params.hidden, params.dropout)
        self.adapted = [name for name, _ in self.core.named_parameters() if adapted is None or name.split(".")[0] in adapted]
        # The logarithm of what `inner_rate` is multiplied by, and of how many items shown count as much as what was known before.
        self.log_rate = nn.Parameter(torch.zeros(len(self.adapted) if params.step_sizes == "each" else 1))
        self.log_trust = nn.Parameter(torch.tensor(0.5))

    def items(self, codes: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(vectors (N, d), roles (N, d), biases (N,)) by content and, where the id is known (and kept, bool (N,)), by id."""
        content = self.item_fields(self.item_rows.take(codes)).sum(1)
        if self.texts is not None:
            content = content + self.texts(codes)
        parts = self._by_content(content)
        if not self.ids:
            return parts
        known = (self.known[codes] if kept is None else self.known[codes] & kept)[:, None].float()
        own = (self.vector_id(codes), self.role_id(codes), self.bias(codes))
        vectors, roles, biases = (part + known * more for part, more in zip((*parts[:2], parts[2][:, None]), own, strict=True))
        return self._as_new((vectors, roles, biases[:, 0]), 1 - known[:, 0])

    def new_items(self, rows: Any, layout: Layout, texts: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Items from outside, by their encoded columns (csr (n, f)) alone. texts (n, d): what their texts add."""
        content = self.item_fields(FieldRows(rows, layout).take(torch.arange(rows.shape[0]))).sum(1)
        parts = self._by_content(content if texts is None else content + texts)
        return self._as_new(parts, torch.ones(rows.shape[0])) if self.ids else parts

    def _as_new(self, parts: tuple[Tensor, Tensor, Tensor], new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """new: float (N,), 1 for items that are told by their columns alone, although others have ids."""
        if self.new_item is None:
            return parts
        return parts[0] + new[:, None] * self.new_item["vector"], parts[1], parts[2] + new * self.new_item["bias"]

    def _by_content(self, content: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.vector(content), self.role(content), self.lean(content)[:, 0]

    def users(self, codes: Tensor) -> Tensor:
        """(B, d): what the rows of the user table say; zeros for code -1, for users who came after training, and without a table."""
        if self.user_fields is None:
            return torch.zeros(len(codes), self.size, device=codes.device)
        told = (codes >= 0) & (codes < self.user_rows.n_rows)
        return self.user_fields(self.user_rows.take(torch.where(told, codes, 0))).sum(1) * told[:, None]
