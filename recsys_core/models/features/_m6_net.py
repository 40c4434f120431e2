"""The network of M6-Rec: two feature towers, pooled histories, a generator."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from ...nn.batches import Ragged, SparseRows
from ...nn.field_embeddings import Batch, FieldRows, Layout
from ...nn.multilevel import START, FeatureTower, Generator, HistoryPool, Shape
from .._inputs import Inputs

RATING_PRIOR = 5.0  # ratings of the average that a history's own mean is drawn towards


class Items(NamedTuple):
    """vectors (N, d), biases (N,): to be scored; roles (N, d): as part of a history; shares (N, F) of the fields."""

    vectors: Tensor
    biases: Tensor
    roles: Tensor
    shares: Tensor


class M6Net(nn.Module):
    """score(u, i) = cos(U_u, V_i), for ratings U_u · V_i + b_i; U = G_u(Z_u, pooled history), V = G_i(Z_i, pooled choosers),
    Z = Fuser(Levels(gated fields)).

    Items of a history have vectors of their own beside a linear map of their fused ones. `known` (I,): whether an item's id was
    learnt; id, derived fields, bias and choosers of others are never read.
    Shapes: items int64 (N,) -> `Items`; users of B histories -> (B, d).
    """

    def __init__(
        self,
        inputs: Inputs,
        n_users: int,
        n_items: int,
        shape: Shape,
        *,
        ids: bool,
        user_ids: bool = False,
        ratings: bool = False,
        choosers: sparse.csr_matrix | None = None,
    ) -> None:
        super().__init__()
        size, self.ratings = shape.factors, ratings
        self.item_rows, self.user_rows = FieldRows(inputs.items.matrix, inputs.item_layout), FieldRows(inputs.users, inputs.user_table)
        self.register_buffer("known", torch.as_tensor(inputs.known), persistent=False)
        hidden_with_id = [True] * ids + list(inputs.item_derived)
        self.register_buffer("item_own", torch.as_tensor(hidden_with_id, dtype=torch.bool), persistent=False)
        self.item_tower = FeatureTower(n_items if ids else 0, inputs.item_layout, shape)
        self.history_id = nn.Embedding(n_items, size) if ids else None
        self.bias = nn.Embedding(n_items, 1) if ids and ratings else None
        self.role = nn.Linear(size, size, bias=False)
        if ids:
            nn.init.normal_(self.history_id.weight, std=START)
        nn.init.eye_(self.role.weight)  # items are found alike by their fields before anything is learnt
        if self.bias is not None:
            nn.init.zeros_(self.bias.weight)
        self.n_table = len(inputs.user_table.kinds)
        self.user_ids = user_ids
        has_user_fields = user_ids or len(inputs.user_layout.kinds) > 0
        self.user_tower = FeatureTower(n_users if user_ids else 0, inputs.user_layout, shape) if has_user_fields else None
        self.everyone = nn.Parameter(torch.zeros(size))
        self.pool = HistoryPool(shape.pooling, size)
        self.user_generator = Generator(size, shape.generator, shape.dropout)
        self.choosers = nn.Embedding(n_users, size) if choosers is not None else None
        if self.choosers is not None:
            nn.init.normal_(self.choosers.weight, std=START)
            self.chosen_by = SparseRows(choosers)
            self.chooser_pool = HistoryPool("mean", size)
            self.item_generator = Generator(size, shape.generator, shape.dropout)

    # ---- items -----------------------------------------------------------------------------------
    def items(self, codes: Tensor, known: Tensor | None = None, masked: Tensor | None = None, without: int | None = None) -> Items:
        """known: bool (N,), whose id counts; those that were learnt when None. masked: bool (U,), users whose choices are not looked at.
        without: a field (of the tower) left out."""
        known = self.known[codes] if known is None else known & self.known[codes]
        made = self._items(codes, self.item_rows.take(codes), known, without)
        if self.choosers is None:
            return made._replace(vectors=self._direction(made.vectors))
        rows = self.chosen_by.take(codes)
        rows = Ragged(rows.columns.to(codes.device), rows.offsets.to(codes.device))
        keep = known[rows.rows] if masked is None else known[rows.rows] & ~masked[rows.columns]
        left = torch.zeros_like(rows.offsets)
        torch.cumsum(torch.bincount(rows.rows[keep], minlength=len(codes)), 0, out=left[1:])
        pooled = self.chooser_pool(self.choosers.weight, Ragged(rows.columns[keep], left))
        return made._replace(vectors=self._direction(self.item_generator(made.vectors, pooled)))

    def new_items(self, table: sparse.csr_matrix, layout: Layout) -> Tensor:
        """(n, d): vectors of items from outside, by their encoded fields."""
        rows = FieldRows(table, layout).take(torch.arange(table.shape[0]))
        nobody = torch.zeros(table.shape[0], dtype=torch.bool)
        vectors = self._items(torch.zeros(table.shape[0], dtype=torch.int64), rows, nobody, None).vectors
        return self._direction(vectors if self.choosers is None else self.item_generator(vectors, torch.zeros_like(vectors)))

    def _direction(self, vectors: Tensor) -> Tensor:
        """Of unit length, unless ratings are to be told."""
        return vectors if self.ratings else F.normalize(vectors.float(), dim=1)

    def _items(self, codes: Tensor, rows: Batch, known: Tensor, without: int | None) -> Items:
        there = known[:, None] | ~self.item_own
        if without is not None:
            there = there.clone()
            there[:, without] = False
        vectors, shares = self.item_tower(codes, rows, there)
        count = known.to(vectors.dtype)
        roles = self.role(vectors).float()
        if self.history_id is not None:  # hidden ids are those of items to be scored: what is in a history was chosen by somebody
            roles = roles + self.history_id(codes) * self.known[codes].to(vectors.dtype)[:, None]
        biases = self.bias(codes).squeeze(1) * count if self.bias is not None else torch.zeros_like(count)
        return Items(vectors, biases, roles, shares)

    # ---- users -----------------------------------------------------------------------------------
    def users(
        self,
        history: Ragged,
        roles: Tensor,
        codes: Tensor,
        derived: Tensor,
        known: Tensor,
        amounts: Tensor | None = None,
        without: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """((B, d), shares (B, F)). history: rows over `roles`; codes (B,), -1: nobody in particular; derived (B, D); known bool (B,):
        whose id counts. without: int64 (B,), a field of the tower left out in each row, -1: none."""
        pooled = self.pool(roles, history, amounts)
        if self.user_tower is None:
            return self._direction(self.everyone + self.user_generator(torch.zeros_like(pooled), pooled)), None
        at = codes.clamp(min=0)
        rows = self.user_rows.take(at)
        rows = rows._replace(numbers=torch.cat([rows.numbers, derived], 1))
        table, own = (codes >= 0)[:, None].expand(-1, self.n_table), torch.ones_like(codes, dtype=torch.bool)[:, None]
        parts = [(known & (codes >= 0))[:, None]] * self.user_ids + [
            table,
            own.expand(-1, self.user_tower.n_fields - self.n_table - self.user_ids),
        ]
        there = torch.cat(parts, 1)
        if without is not None:
            there = there & (torch.arange(there.shape[1], device=there.device) != without[:, None])
        fused, shares = self.user_tower(at, rows, there)
        fused = fused * (history.lengths + 1).to(fused.dtype).rsqrt()[:, None]  # counts as one more item of the history
        return self._direction(self.everyone + self.user_generator(fused, pooled)), shares


def rating_offset(history: Ragged, amounts: Tensor) -> Tensor:
    """(B,): mean of each row's amounts (ratings less the average), drawn towards 0 by RATING_PRIOR ratings of it."""
    total = torch.zeros(len(history), device=amounts.device).index_add(0, history.rows, amounts)
    return total / (history.lengths + RATING_PRIOR)


def plain(shape: Shape) -> Shape:
    """The shape of a plain two-tower of the same size."""
    return replace(shape, levels=0, fuser="concat", adaptive=False, pooling="mean", generator=0)


def choosers_of(pairs_user: np.ndarray, pairs_item: np.ndarray, n_users: int, n_items: int, most: int) -> sparse.csr_matrix:
    """csr (I, U): the last `most` users of each item in the order of the pairs."""
    order = np.argsort(pairs_item, kind="stable")
    item, user = pairs_item[order], pairs_user[order]
    from_end = np.searchsorted(item, item, "right") - np.arange(len(item))
    keep = from_end <= most
    indptr = np.concatenate([[0], np.cumsum(np.bincount(item[keep], minlength=n_items))])
    return sparse.csr_matrix((np.ones(int(keep.sum()), np.float32), user[keep], indptr), shape=(n_items, n_users))
