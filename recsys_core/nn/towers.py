"""Two towers: users and items as unit vectors whose inner product is the score."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from .batches import Ragged
from .blocks import MLP
from .losses import sampled_logsumexp, softmax_against


class BagOfFeatures(nn.Module):
    """Weighted sum of the vectors of the features that a row has; the table of rows is a constant, not a weight.

    It is no part of the state dict: whoever saves the network saves the table beside it.
    Shapes: int64 (B,) rows -> (B, width). Cost: features of the rows × width.
    """

    def __init__(self, table: sparse.csr_matrix, width: int, std: float = 0.1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(table.shape[1], width) * std)
        for name, values, kind in (("columns", table.indices, torch.int64), ("offsets", table.indptr, torch.int64)):
            self.register_buffer(name, torch.as_tensor(values).to(kind), persistent=False)
        self.register_buffer("values", torch.as_tensor(table.data).float(), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        ends = lengths.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        shift = torch.repeat_interleave(self.offsets[rows] - ends + lengths, lengths, output_size=total)
        at = torch.arange(total, device=rows.device) + shift
        bags = ends - lengths  # where each row begins
        return F.embedding_bag(self.columns[at], self.weight, bags, mode="sum", per_sample_weights=self.values[at])


class Tower(nn.Module):
    """x + MLP(x), brought to unit length; without layers the MLP is left out. Shapes: (B, d) -> (B, d)."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))
        self.mlp = MLP([width, *[2 * width] * layers, width], nn.GELU, dropout) if layers else None
        if self.mlp is not None:
            nn.init.zeros_(self.mlp.layers[-1].weight)  # starts as the sum of its inputs alone

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.bias
        return F.normalize(x if self.mlp is None else x + self.mlp(x), dim=1)


class TwoTowerNet(nn.Module):
    """User: pooled history [+ features] -> tower. Item: id vector [+ features] -> tower. Score: cosine × scale.

    Items of the history have vectors of their own (being chosen and telling what will be chosen are two roles).
    trained: float (I,), 1 where the item's id vector was learnt; the others, when there are features, have only those.
    Shapes: items (N,) -> (N, d); users of B histories -> (B, d); all of unit length.
    Source: Yi et al. 2019, fig. 2 (https://doi.org/10.1145/3298689.3346996); pooled history: Covington et al. 2016, fig. 3.
    """

    def __init__(
        self,
        n_items: int,
        width: int,
        layers: int,
        dropout: float,
        temperature: float,
        trained: Tensor,
        item_features: sparse.csr_matrix | None = None,
        user_features: sparse.csr_matrix | None = None,
        hide_ids: float = 0.0,
        hide_users: float = 0.5,
    ) -> None:
        super().__init__()
        self.item_id, self.history_id = nn.Embedding(n_items, width), nn.Embedding(n_items, width)
        for table in (self.item_id, self.history_id):
            nn.init.normal_(table.weight, std=width**-0.5)
        self.item_features = BagOfFeatures(item_features, width) if item_features is not None else None
        self.history_features = BagOfFeatures(item_features, width) if item_features is not None else None
        self.user_features = BagOfFeatures(user_features, width) if user_features is not None else None
        self.item_tower, self.user_tower = Tower(width, layers, dropout), Tower(width, layers, dropout)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.register_buffer("trained", trained.float(), persistent=False)
        self.hide_ids, self.hide_users, self.dropout = hide_ids, hide_users, dropout

    def items(self, codes: Tensor) -> Tensor:
        x = self._described(codes, self.item_id, self.item_features, self.hide_ids)
        return self.item_tower(F.dropout(x, self.dropout, self.training))

    def users(self, history: Ragged, known: Tensor | None = None) -> Tensor:
        """known: int64 (B,) codes of users whose features are used; None = histories of nobody in particular."""
        distinct, where = torch.unique(history.columns, return_inverse=True)
        vectors = self._described(distinct, self.history_id, self.history_features, 0.0)
        lengths = history.lengths
        weights = torch.repeat_interleave(lengths.clamp(min=1).to(vectors.dtype).rsqrt(), lengths, output_size=len(where))
        pooled = F.embedding_bag(
            where, vectors, history.offsets, mode="sum", per_sample_weights=weights.to(vectors.dtype), include_last_offset=True
        )
        if known is not None and self.user_features is not None:
            pooled = pooled + self._kept(known, self.hide_users) * self.user_features(known)
        return self.user_tower(F.dropout(pooled, self.dropout, self.training))

    def _described(self, codes: Tensor, table: nn.Embedding, features: BagOfFeatures | None, hidden: float) -> Tensor:
        """Id vector and features of each code; while learning, some ids are hidden so that the features must do."""
        vectors = table(codes)
        if features is None:
            return vectors
        return vectors * (self._kept(codes, hidden) * self.trained[codes, None]) + features(codes)

    def _kept(self, codes: Tensor, hidden: float) -> Tensor:
        """float (n, 1): 0 for a random share of the rows while learning, else 1."""
        if not self.training or hidden == 0:
            return torch.ones(len(codes), 1, device=codes.device)
        return (torch.rand(len(codes), 1, device=codes.device) >= hidden).float()

    @property
    def scale(self) -> Tensor:
        """One over the temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(100)).exp()


def contrast(
    scores: Tensor, rows: Tensor, columns: Tensor, log_expected: Tensor, times: Tensor, excluded: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Sampled softmax of each (row, column) positive against the items that the batch brought, each scored once a row.

    Column j was met times[j] times where exp(log_expected[j]) were expected: e^score counts times / expected, which makes
    the sum an unbiased estimate of that over all items. With every user's targets as draws this is the in-batch
    softmax with logQ correction (Yi et al. 2019, eq. 3-5); with uniform draws among them the mixed one (Yang et al.
    2020, https://doi.org/10.1145/3366424.3386195), combined as one lot instead of two.
    excluded: bool (B, N), known positives of the row.
    Shapes: scores (B, N); rows, columns, weights (n,); log_expected, times (N,) -> scalar. Cost: B × N, whatever n.
    """
    against = sampled_logsumexp(scores + (times.to(scores.dtype).log() - log_expected), None, excluded)
    positive = scores.flatten().index_select(0, rows * scores.shape[1] + columns)
    return softmax_against(positive, against.index_select(0, rows), weights)


def hide(rows: Ragged, share: float) -> tuple[Ragged, Tensor, Tensor]:
    """(shown, columns, of): a random share of the entries of every row, at least one, is taken out.

    shown: what is left of each row. columns, of: int64 (n,), the entries taken out and the row of each.
    """
    row = rows.rows
    lot = torch.rand(len(row), device=row.device)
    least = torch.ones(len(rows), device=row.device).scatter_reduce(0, row, lot, "amin")
    out = (lot < share) | (lot <= least[row])
    left = torch.zeros_like(rows.offsets)
    torch.cumsum(torch.bincount(row[~out], minlength=len(rows)), 0, out=left[1:])
    return Ragged(rows.columns[~out], left), rows.columns[out], row[out]
