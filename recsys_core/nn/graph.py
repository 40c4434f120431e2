"""The user-item graph, symmetrically normalised, and the propagation of embeddings over it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn


class _Half:
    """A sparse matrix that multiplies dense ones: one direction of the graph.

    The rows are bags of `embedding_bag`, on the CPU the fastest of what there is: 1 million edges, 64 wide,
    one thread take 1.6 ms, as torch's csr tensors (MKL) 5.2, with scipy 7.8. One thread sums a row, so the
    result does not depend on the number of threads.
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        kind = np.int32 if max(matrix.nnz, *matrix.shape) < 2**31 else np.int64
        self.columns = torch.as_tensor(matrix.indices.astype(kind))
        self.offsets = torch.as_tensor(matrix.indptr.astype(kind))
        self.weights = torch.as_tensor(matrix.data)

    def to(self, device: torch.device) -> None:
        self.columns, self.offsets, self.weights = (x.to(device) for x in (self.columns, self.offsets, self.weights))

    def times(self, dense: Tensor, weights: Tensor | None) -> Tensor:
        """(columns, d) -> (rows, d)."""
        weights = self.weights if weights is None else weights
        bags = (self.columns, dense, self.offsets)
        return F.embedding_bag(*bags, mode="sum", include_last_offset=True, per_sample_weights=weights.to(dense.dtype))


class UserItemGraph:
    """Edges between users and the items they chose, each weighted 1 / sqrt(degree of the user × degree of the item).

    With the users first and the items after them its adjacency is A = [[0, R], [Rᵀ, 0]]; kept are R and Rᵀ.
    Users and items without edges have no neighbours and receive nothing.
    Source: He et al. 2020, eq. 3 and 8 (https://arxiv.org/abs/2002.02126).
    Shapes: positives csr (U, I). Cost: 24 bytes an edge; a product with d-wide vectors takes 2 × d operations an edge.
    """

    def __init__(self, positives: sparse.csr_matrix) -> None:
        ones = sparse.csr_matrix((np.ones(positives.nnz, np.float32), positives.indices, positives.indptr), positives.shape)
        self.user_degrees = np.diff(ones.indptr)
        self.item_degrees = np.bincount(ones.indices, minlength=ones.shape[1])
        user, item = (1 / np.sqrt(np.maximum(degrees, 1)) for degrees in (self.user_degrees, self.item_degrees))
        weights = np.repeat(user, self.user_degrees) * item[ones.indices]
        towards_users = sparse.csr_matrix((weights.astype(np.float32), ones.indices, ones.indptr), ones.shape)
        # The place in R of every entry of Rᵀ: what is drawn for an edge must hold in both directions.
        places = sparse.csr_matrix((np.arange(ones.nnz), ones.indices, ones.indptr), ones.shape).tocsc()
        towards_items = sparse.csr_matrix((towards_users.data[places.data], places.indices, places.indptr), ones.shape[::-1])
        self._users, self._items = _Half(towards_users), _Half(towards_items)
        self._places = torch.as_tensor(places.data.astype(np.int64))

    @property
    def n_edges(self) -> int:
        return len(self._places)

    def to(self, device: torch.device) -> UserItemGraph:
        """Moves it, where it is not there already."""
        if self._places.device != device:
            self._users.to(device)
            self._items.to(device)
            self._places = self._places.to(device)
        return self

    def drop(self, share: float) -> tuple[Tensor, Tensor]:
        """Edge weights, in both directions, of the graph without a random share of its edges; the rest weigh more in turn.

        Chance comes from torch's default generator (see `runtime.seeded`).
        """
        kept = torch.rand(self.n_edges, device=self._places.device) >= share
        weights = self._users.weights * kept / (1 - share)
        return weights, weights[self._places]

    def layers(self, user: Tensor, item: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
        """Layers 0 to n, (users, items) each: A^k applied to the first. No gradient."""
        out = [(user, item)]
        with torch.no_grad():
            for _ in range(n):
                user, item = self._users.times(item, None), self._items.times(user, None)
                out.append((user, item))
        return out

    def propagate(self, user: Tensor, item: Tensor, layers: int, weights: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The mean of layers 0 to `layers`: (A⁰ + … + A^K) / (K + 1) applied to (user, item), differentiable in both.

        weights: of the edges, from `drop`; None = all of them.
        Source: He et al. 2020, eq. 7, 8 and 11. Shapes: (U, d), (I, d) -> (U, d), (I, d).
        Cost: 2 × layers products forwards and as many backwards; no layer is kept for the way back.
        """
        return _Propagation.apply(user, item, self.to(user.device), layers, weights)

    def _mean(self, user: Tensor, item: Tensor, layers: int, weights: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Horner's rule: x + A(x + A(x + …))."""
        to_users, to_items = weights or (None, None)
        u, i = user, item
        for _ in range(layers):
            u, i = self._users.times(i, to_users).add_(user), self._items.times(u, to_items).add_(item)
        return u / (layers + 1), i / (layers + 1)


class _Propagation(torch.autograd.Function):
    """The operator is a polynomial of the symmetric A, so it is its own transpose: gradients go through it as vectors do."""

    @staticmethod
    def forward(ctx: Any, user: Tensor, item: Tensor, graph: UserItemGraph, layers: int, weights: Any) -> tuple[Tensor, Tensor]:
        ctx.how = (graph, layers, weights)
        return graph._mean(user, item, layers, weights)

    @staticmethod
    def backward(ctx: Any, user: Tensor, item: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Propagation.apply(user.contiguous(), item.contiguous(), *ctx.how), None, None, None)


class GraphNet(nn.Module):
    """Embeddings of users and items, all there is to learn, and their propagation over the graph.

    Source: He et al. 2020, LightGCN, section 3.1 (https://arxiv.org/abs/2002.02126).
    Shapes: forward -> (U, d), (I, d), the means over layers.
    """

    def __init__(self, graph: UserItemGraph, factors: int, layers: int, edge_dropout: float = 0.0, std: float = 0.1) -> None:
        super().__init__()
        self.graph, self.layers, self.edge_dropout = graph, layers, edge_dropout
        self.user = nn.Embedding(len(graph.user_degrees), factors)
        self.item = nn.Embedding(len(graph.item_degrees), factors)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=std)

    def forward(self) -> tuple[Tensor, Tensor]:
        user, item = self.user.weight, self.item.weight
        graph = self.graph.to(user.device)
        weights = graph.drop(self.edge_dropout) if self.training and self.edge_dropout else None
        return graph.propagate(user, item, self.layers, weights)
