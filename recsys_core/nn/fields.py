"""Factorisation machine and deep part over the fields of a user and of an item, computed side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from .interaction import PairNet

CHUNK = 2**14  # rows whose fields are held at once when everyone's vectors are made


@dataclass(frozen=True)
class SideFields:
    """What describes one side: n ids, of which `known` (bool, (n,)) were seen in training, and features of each.

    matrix: csr (n, n_features). field: (n_features,) the field of each feature, ascending from 0.
    """

    known: np.ndarray
    matrix: sparse.csr_matrix
    field: np.ndarray

    @property
    def n_fields(self) -> int:
        return int(self.field.max(initial=-1)) + 1


class Fields(nn.Module):
    """One side: an embedding of its id and one of each field, e_f = Σ x_j v_j over the features j of the field.

    An id never seen in training counts as none; while learning, `id_dropout` of the ids count as none too, so that
    the features learn to stand alone.
    Shapes: codes (n,) -> the side's share of the score, see `forward`. Cost: every distinct code is computed once.
    """

    def __init__(self, side: SideFields, factors: int, hidden: int, dropout: float, id_dropout: float) -> None:
        super().__init__()
        n, n_features = side.matrix.shape
        self.n_fields, self.id_dropout = side.n_fields, id_dropout if side.n_fields else 0.0
        self.id, self.id_weight = nn.Embedding(n, factors), nn.Embedding(n, 1)
        self.value = nn.Embedding(n_features, factors) if n_features else None
        self.value_weight = nn.Embedding(n_features, 1) if n_features else None
        self.wide = nn.Linear((1 + self.n_fields) * factors, hidden, bias=False)
        self.dropout = nn.Dropout(dropout)
        for table, std in ((self.id, 0.1), (self.id_weight, 0.0), (self.value, 0.1), (self.value_weight, 0.0)):
            if table is not None:
                nn.init.normal_(table.weight, std=std)
        nn.init.kaiming_normal_(self.wide.weight, nonlinearity="relu")
        rows = sparse.csr_matrix(side.matrix)
        rows.sort_indices()
        bag = np.repeat(np.arange(n), np.diff(rows.indptr)) * self.n_fields + side.field[rows.indices]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(bag, minlength=n * self.n_fields))])
        constants = {
            "known": torch.as_tensor(np.asarray(side.known, np.float32)),
            "column": torch.as_tensor(rows.indices.astype(np.int64)),
            "amount": torch.as_tensor(rows.data.astype(np.float32)),
            "bounds": torch.as_tensor(bounds.astype(np.int64)),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """int64 (n,) -> sums (n, k), own (n,), wide (n, h): Σ e_f; the linear terms and the products inside the side; W [e_1 … e_F]."""
        keep = self.known[codes]
        if self.training and self.id_dropout:
            keep = keep * (torch.rand(len(codes), device=codes.device) >= self.id_dropout)
        fields = (self.id(codes) * keep[:, None])[:, None]  # (n, 1, k)
        linear = self.id_weight(codes).squeeze(1) * keep
        if self.value is not None:
            column, amount, offsets = self._features(codes)
            options = {"mode": "sum", "include_last_offset": True}
            bags = F.embedding_bag(column, self.value.weight, offsets, per_sample_weights=amount, **options)
            fields = torch.cat([fields, bags.view(len(codes), self.n_fields, -1)], 1)  # (n, 1 + F, k)
            whole = offsets[:: self.n_fields].contiguous()
            linear = linear + F.embedding_bag(column, self.value_weight.weight, whole, per_sample_weights=amount, **options).squeeze(1)
        fields = self.dropout(fields)
        sums = fields.sum(1)
        own = linear + 0.5 * (sums.square() - fields.square().sum(1)).sum(1)
        return sums, own, self.wide(fields.flatten(1))

    def _features(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features and amounts of the codes' fields, and the bounds of each (n · F + 1,)."""
        bag = (codes[:, None] * self.n_fields + torch.arange(self.n_fields, device=codes.device)).flatten()
        lengths = self.bounds[bag + 1] - self.bounds[bag]
        offsets = torch.zeros(len(bag) + 1, dtype=torch.int64, device=codes.device)
        torch.cumsum(lengths, 0, out=offsets[1:])
        shift = torch.repeat_interleave(self.bounds[bag] - offsets[:-1], lengths, output_size=int(offsets[-1]))
        at = torch.arange(len(shift), device=codes.device) + shift
        return self.column[at], self.amount[at], offsets


class FieldNet(PairNet):
    """Factorisation machine + MLP over the embeddings of all fields of a user and an item, shared by both.

    score = Σ w_j x_j + Σ_{f<g} e_f · e_g + MLP([e_1 … e_F]). The sum over pairs of fields of both sides is the product of
    the sides' sums, that inside a side belongs to the side alone; the first MLP layer is a sum over the sides too. So a
    user is [Σ e_f, own, W_u e] and an item [Σ e_f, 1, W_i e] with its own part as bias, and `PairNet` does the rest.
    Source: Guo et al. 2017 (https://arxiv.org/abs/1703.04247), eq. 1-4.
    Differs: fields with several values are weighted sums of them; the first layer is computed by side.
    Shapes: users (B, k + 1 + h), items (N, k + 1 + h).
    """

    def __init__(
        self, users: SideFields, items: SideFields, factors: int, hidden: int, layers: int, dropout: float, id_dropout: float
    ) -> None:
        super().__init__(factors + 1, hidden, layers, weighted=False)
        self.user = Fields(users, factors, hidden, dropout, id_dropout)
        self.item = Fields(items, factors, hidden, dropout, id_dropout)

    def users(self, codes: Tensor) -> Tensor:
        sums, own, wide = self.user(codes)
        return torch.cat([sums, own[:, None], wide], 1)

    def items(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        distinct, at = codes.unique(return_inverse=True)
        sums, own, wide = self.item(distinct)
        vectors = torch.cat([sums, torch.ones_like(own)[:, None], wide], 1)
        return F.embedding(at, vectors), own.index_select(0, at)

    @torch.no_grad()
    def user_vectors(self) -> Tensor:
        return torch.cat([self.users(codes) for codes in self._every(self.user)])

    @torch.no_grad()
    def item_vectors(self) -> tuple[Tensor, Tensor]:
        parts = [self.items(codes) for codes in self._every(self.item)]
        vectors, biases = zip(*parts, strict=True)
        return torch.cat(vectors), torch.cat(biases)

    def _every(self, side: Fields) -> tuple[Tensor, ...]:
        return torch.arange(len(side.known), device=side.known.device).split(CHUNK)
