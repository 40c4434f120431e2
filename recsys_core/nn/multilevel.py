"""Multi-level feature towers of users and items, pooled histories, and the generator that scores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batches import Ragged
from .blocks import MLP
from .field_embeddings import Batch, FieldEmbeddings, FieldGate, Layout, shares
from .fusers import Fuser, FuserKind
from .levels import Levels

START = 0.05  # deviation of the starting values of ids
Pooling = Literal["attention", "mean"]


@dataclass(frozen=True)
class Shape:
    """Sizes of the network. factors: of all vectors; width: hidden units of a level; generator: hidden units, 0 = plain sum;
    text: numbers of a text that are read."""

    factors: int
    width: int = 64
    levels: int = 0
    fuser: FuserKind = "concat"
    adaptive: bool = False
    pooling: Pooling = "mean"
    generator: int = 0
    dropout: float = 0.0
    text: int = 2**20


class Encoded(NamedTuple):
    """vectors (B, d): the fused output of all levels. shares (B, F): part of each field in what entered them."""

    vectors: Tensor
    shares: Tensor


class FeatureTower(nn.Module):
    """[id and] fields -> gate; the sum of the fields -> levels -> fuser, plus the id. The id, where there is one, is field 0.

    The levels read features alone: an id that went through them too would let them learn single items by heart.
    there: bool (B, F): fields that are not there count nothing. n_ids = 0: no id.
    Shapes: ids int64 (B,), rows `Batch` -> `Encoded`.
    """

    def __init__(self, n_ids: int, layout: Layout, shape: Shape) -> None:
        super().__init__()
        self.id = nn.Embedding(n_ids, shape.factors) if n_ids else None
        if self.id is not None:
            nn.init.normal_(self.id.weight, std=START)
        self.fields = FieldEmbeddings(layout, shape.factors, shape.dropout, START, shape.text)
        self.n_fields = len(layout.kinds) + bool(n_ids)
        self.gate = FieldGate(self.n_fields, shape.factors) if shape.adaptive and self.n_fields > 1 else None
        self.levels = Levels(shape.levels, shape.factors, shape.width, shape.dropout)
        self.fuser = Fuser(shape.fuser, shape.levels, shape.factors)

    def forward(self, ids: Tensor, rows: Batch, there: Tensor) -> Encoded:
        fields = self.fields(rows)
        if self.id is not None:
            fields = torch.cat([self.id(ids)[:, None], fields], 1)  # (B, F, d)
        gates = self.gate(fields, there) if self.gate is not None else there.to(fields.dtype)
        own = int(self.id is not None)
        first = torch.einsum("bf,bfd->bd", gates[:, own:], fields[:, own:])
        fused = self.fuser(self.levels(first))
        if self.id is not None:
            fused = fused + gates[:, :1] * fields[:, 0]
        return Encoded(fused, shares(gates.detach(), fields.detach()))


class HistoryPool(nn.Module):
    """What somebody chose as one vector: Σ_j a_j h_j · √n, with a_j = 1/n (mean) or learnt (attention).

    Attention: a = softmax over the row's own entries of (Q mean) · (K h_j) / √d, equal for all to begin with. Rows without entries
    give 0; there is no padding, so none can be attended to.
    Source: pooled watches, Covington et al. 2016 (https://doi.org/10.1145/2959100.2959190); by the root of their number as in SVD++.
    Shapes: vectors (N, d), history `Ragged` of B rows over them -> (B, d).
    """

    def __init__(self, pooling: Pooling, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False) if pooling == "attention" else None
        self.key = nn.Linear(size, size, bias=False) if pooling == "attention" else None
        if self.query is not None:
            nn.init.zeros_(self.query.weight)

    def forward(self, vectors: Tensor, history: Ragged, amounts: Tensor | None = None) -> Tensor:
        """amounts: float (n,): what each entry counts besides (a rating); 1 when None."""
        lengths, at = history.lengths, history.columns
        root = lengths.clamp(min=1).to(vectors.dtype).sqrt()
        weights = torch.repeat_interleave(1 / root, lengths, output_size=len(at))
        if self.query is not None and len(at):
            row = history.rows
            query = self.query(_bags(vectors, history, weights)).float()
            logits = (query[row] * self.key(vectors).float()[at]).sum(1) / vectors.shape[1] ** 0.5
            weights = ragged_softmax(logits, row, len(history)) * root[row]
        return _bags(vectors, history, weights if amounts is None else weights * amounts)


def _bags(vectors: Tensor, history: Ragged, weights: Tensor) -> Tensor:
    return F.embedding_bag(history.columns, vectors, history.offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def ragged_softmax(logits: Tensor, row: Tensor, n_rows: int) -> Tensor:
    """Softmax over the entries of each row. Shapes: logits, row (n,) -> (n,)."""
    most = torch.full((n_rows,), -torch.inf, device=logits.device).scatter_reduce(0, row, logits.detach(), "amax")
    each = (logits - most[row]).exp()
    return each / torch.zeros(n_rows, device=logits.device).index_add(0, row, each)[row]


class Generator(nn.Module):
    """Fused vector + pooled history + MLP([fused, history]); hidden = 0: their sum. Starts as the sum. Shapes: 2 × (B, d) -> (B, d)."""

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(2 * size), MLP([2 * size, hidden, size], nn.GELU, dropout)) if hidden else None
        if self.mlp is not None:
            nn.init.zeros_(self.mlp[1].layers[-1].weight)
            nn.init.zeros_(self.mlp[1].layers[-1].bias)

    def forward(self, fused: Tensor, pooled: Tensor) -> Tensor:
        both = fused + pooled
        return both if self.mlp is None else both + self.mlp(torch.cat([fused, pooled], 1)).float()
