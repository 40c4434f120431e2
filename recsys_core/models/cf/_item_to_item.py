"""What the item-to-item models share: a score is the sum of weights from the items of a history."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from ...data.dataset import DatasetStats
from ...data.histories import Histories
from .._base import Cost, Explanation, Recommender
from .._card import block_bytes
from .._portable import Portable
from ._neighbours import fill_by_popularity, folded, pairs_within, product_bytes


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
        settings = {"threshold": self.fitted.threshold, "values": self.resolved.values, "filled": True}
        return Portable("item_weights", {"weights": self._weights}, settings)

    def _state(self) -> dict[str, Any]:
        return {"weights": self._weights}

    def _restore(self, state: dict[str, Any]) -> None:
        self._weights = state["weights"]


def linked(rows: sparse.csr_matrix) -> np.ndarray:
    """Dense rows with -inf where there is no link: no similarity known, so not a candidate."""
    scores = rows.toarray()
    return np.where(scores > 0, scores, -np.inf)
