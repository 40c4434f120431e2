"""What the item-to-item models share: a score is the sum of weights from the items of a history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from ...data.dataset import DatasetStats
from ...data.histories import Histories
from .._base import Cost, Explanation, Recommender
from .._card import block_bytes
from .._portable import Portable
from ._neighbours import BLOCK_ENTRIES, fill_by_popularity, folded, pairs_within, product_bytes


class ItemToItem(Recommender):
    """Score of item j = sum over the history of entry_i * weight_ij. A model's `_fit` sets `_weights`.

    Shapes: weights csr (I, I): row = item of the history, column = item scored.
    Cost: time grows with the sum of squared history lengths; 12 bytes x I x neighbours.
    """

    reason: ClassVar[str]  # of an explanation: what its parts are, one sentence
    _weights: sparse.csr_matrix

    def cost(self, stats: DatasetStats) -> Cost:
        neighbours = min(self.resolve(stats).neighbours, stats.n_items)
        pairs = pairs_within(stats.n_interactions, stats.n_users)
        return Cost(
            24 * stats.n_items * neighbours + product_bytes(stats.n_items) + 40 * stats.n_interactions + block_bytes(stats),
            0.1 + 2e-8 * pairs + 1e-7 * min(pairs, stats.n_items**2),
            "pairs of items within one history",
        )

    def _history_matrix(self, histories: Histories) -> sparse.csr_matrix:
        """csr (B, I): what each item of a history counts."""
        return folded(histories, self.fitted, self.resolved.values)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return fill_by_popularity((self._history_matrix(histories) @ self._weights).toarray(), self._popularity())

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """What each item speaks for."""
        return linked(self._weights[items])

    def _column(self, item: int) -> np.ndarray:
        """float (I,): the weights with which all items speak for one."""
        return self._weights[:, [item]].toarray().ravel()

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        entries, column = self._history_matrix(history), self._column(item)
        return Explanation.of_history(entries.indices, entries.data * column[entries.indices], k, self.reason)

    def _portable(self) -> Portable:
        return self._weights_portable(values=self.resolved.values)

    def _weights_portable(self, **more: Any) -> Portable:
        """The weights as they are. more: settings of the form that only some models have."""
        settings = {"threshold": self.fitted.threshold, "filled": True, **more}
        return fewer_weights(Portable("item_weights", {"weights": self._weights}, settings))

    def _state(self) -> dict[str, Any]:
        return {"weights": self._weights}

    def _restore(self, state: dict[str, Any]) -> None:
        self._weights = state["weights"]


def fewer_weights(portable: Portable) -> Portable:
    """The same with a `prune` that keeps the largest weights of every row, in size.

    A dense matrix becomes smaller only where a third of it goes, or half in a large catalogue: a kept weight takes 6 or 8 bytes beside 4.
    Above that it stays dense, with zeros: no smaller and no quicker."""
    weights = portable.matrices["weights"]
    each = 6 if weights.shape[1] <= 2**16 else 8  # bytes: the value and its column

    def pruned(share: float) -> Portable:
        kept = largest_of_rows(weights, share)
        as_it_is = not sparse.issparse(weights) and each * kept.nnz >= weights.nbytes
        return replace(portable, matrices=portable.matrices | {"weights": kept.toarray() if as_it_is else kept}, prune=None)

    return replace(portable, prune=pruned)


def largest_of_rows(weights: np.ndarray | sparse.csr_matrix, share: float) -> sparse.csr_matrix:
    """csr: of every row the given share of its entries taken out, the smallest in size. Source: magnitude pruning, row by row, so that
    every item of a history keeps its say. Cost: a sort of the entries, some 4 million at a time."""
    n_rows, n_columns = weights.shape
    step = max(1, BLOCK_ENTRIES // max(1, n_columns))
    parts = []
    for start in range(0, n_rows, step):
        rows = sparse.csr_matrix(weights[start : start + step], copy=True)
        rows.eliminate_zeros()
        sizes = np.diff(rows.indptr)
        of = np.repeat(np.arange(rows.shape[0]), sizes)
        rank = np.empty(rows.nnz, np.int64)
        rank[np.lexsort((-np.abs(rows.data), of))] = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], sizes)
        kept = rank < np.ceil((1 - share) * sizes)[of]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(of[kept], minlength=rows.shape[0]))])
        parts.append(sparse.csr_matrix((rows.data[kept], rows.indices[kept], indptr), shape=rows.shape))
    return sparse.csr_matrix(sparse.vstack(parts, format="csr"))


def linked(rows: sparse.csr_matrix) -> np.ndarray:
    """Dense rows with -inf where there is no link: no similarity known, so not a candidate."""
    scores = rows.toarray()
    return np.where(scores > 0, scores, -np.inf)
