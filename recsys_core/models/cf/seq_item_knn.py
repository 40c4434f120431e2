"""Order-aware item neighbours: what follows what, asked of the most recent items."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from .._base import Cost, Source
from .._card import block_bytes
from .._portable import Portable
from . import _params as shared
from ._item_to_item import ItemToItem
from ._neighbours import (
    auto_neighbours,
    inverse_frequency,
    item_neighbours,
    keep_largest,
    pairs_within,
    positives,
    product_bytes,
    weigh,
)


class SeqItemKnnParams(p.Params):
    decay: float = p.param(
        0.8,
        label="Fading of older items",
        help="Each step back in a history counts this much less: 0.8 makes the third last item count 0.64. 1 counts all the same.",
        gt=0,
        le=1,
        tune=(0.5, 1, "linear"),
    )
    long_term: float = p.param(
        0.1,
        label="Weight of the oldest items",
        help="However old, an item of the history keeps this share of the newest one's weight: long-term taste.",
        ge=0,
        le=1,
        tune=(0, 0.5, "linear"),
    )
    order_share: float = p.param(
        0.5,
        label="Share of order",
        help="How much 'was followed by' counts against 'was chosen by the same people'. 0 ignores order in learning, 1 uses nothing else.",
        ge=0,
        le=1,
        tune=(0, 1, "linear"),
    )
    window: int = p.param(
        20,
        label="Window",
        help="Two items count as following each other when at most this many steps lie between them in a history.",
        ge=1,
        le=200,
        tune=(1, 50, "log"),
        fast=10,
    )
    neighbours: int | Literal["auto"] = shared.neighbours("How many items speak for an item. Auto chooses by the size of the catalogue.")
    alpha: float = shared.lean(
        0.25, "Lean of the similarity", "0.5 is even-handed; lower values favour popular items, higher values rare ones."
    )
    shrinkage: float = shared.shrinkage(advanced=True)


class SeqItemKnn(ItemToItem):
    """Score of an item = sum over the history of decay^age * (same-users similarity mixed with followed-by counts).

    Source: Garg et al. (2019), "Sequence and Time Aware Neighborhood for Session-based Recommendations",
    https://doi.org/10.1145/3331184.3331322; directed counts: Kamehkhosh et al. (2017), "A Comparison of Frequent
    Pattern Techniques and a Deep Learning Method for Session-Based Recommendation", https://ceur-ws.org/Vol-1922/paper10.pdf.
    Differs: item to item, not session to session; both parts are scaled to the same mean weight per item
    before they are mixed; the age of an entry is its position from the end of the history, not hours.
    Shapes: weights csr (I, I): row = item of the history, column = item scored.
    Cost: interactions x window pairs, and the sum of squared history lengths; 24 bytes x I x neighbours.
    """

    key = "seq_item_knn"
    takes_new_items = True
    label = "Item neighbours in order"
    family = "Neighbourhood"
    summary = "For 'what next' in listening, reading or shopping histories, where the last few items say most."
    source = Source(
        "Garg et al. (2019), Sequence and Time Aware Neighborhood for Session-based Recommendations, SIGIR",
        "https://doi.org/10.1145/3331184.3331322",
    )
    reason = "How strongly each item of the history leads to this one, recent items more; the parts add up to the score."
    Params = SeqItemKnnParams

    @classmethod
    def auto_params(cls, params: SeqItemKnnParams, stats: DatasetStats) -> dict[str, Any]:
        return {"neighbours": 2 * auto_neighbours(stats.n_items)}

    def cost(self, stats: DatasetStats) -> Cost:
        params = self.resolve(stats)
        neighbours = min(params.neighbours, stats.n_items)
        pairs = pairs_within(stats.n_interactions, stats.n_users)
        steps = stats.n_interactions * params.window
        return Cost(
            48 * stats.n_items * neighbours
            + 24 * min(steps, stats.n_items**2)
            + 60 * stats.n_interactions
            + product_bytes(stats.n_items)
            + block_bytes(stats),
            0.2 + 2e-8 * pairs + 1e-7 * min(pairs, stats.n_items**2) + 1e-7 * steps,
            "pairs of items within one history and within the window",
        )

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        self._fit(self.fitted, ctx, None)  # nothing is learnt here, only counted

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params = self.resolved
        if data.time is None:
            self.notes.append("The data has no times: the order of the rows in the file was taken as the order in which items were chosen.")
        parts = []
        if params.order_share < 1:
            items = positives(data, "ignore").T.tocsr()
            items = weigh(items, "tfidf", inverse_frequency(items), 1.0, 1.0, 0.0)
            alike = item_neighbours(items, params.neighbours, params.alpha, params.shrinkage, ctx.part("Same users", 0.0, 0.5))
            parts.append((1 - params.order_share, alike))
        if params.order_share > 0:
            parts.append((params.order_share, self._followers(data, ctx.part("Order", 0.5, 1.0))))
        mixed = sum(np.float32(share / max(1e-12, matrix.sum() / data.n_items)) * matrix for share, matrix in parts)
        self._weights = keep_largest(mixed.T.tocsr(), params.neighbours).T.tocsr()

    def _followers(self, data: Dataset, ctx: RunContext) -> sparse.csr_matrix:
        """csr (I, I): how often the column followed the row within the window, set against both popularities."""
        params = self.resolved
        histories = data.histories(relevant_only=True)
        row, items, n = histories.row, histories.items, data.n_items
        counts = sparse.csr_matrix((n, n), dtype=np.float32)
        for gap in range(1, min(params.window, int(histories.lengths.max(initial=1)) - 1) + 1):
            ctx.report("Counting what follows what", gap / params.window)
            before, after = items[:-gap], items[gap:]
            pair = (row[:-gap] == row[gap:]) & (before != after)
            ones = np.ones(int(pair.sum()), np.float32)
            counts = counts + sparse.coo_matrix((ones, (before[pair], after[pair])), shape=(n, n)).tocsr()
        source = np.repeat(np.arange(n), np.diff(counts.indptr))
        size = np.maximum(data.item_counts, 1).astype(np.float32)
        counts.data /= size[source] ** (1 - params.alpha) * size[counts.indices] ** params.alpha
        return keep_largest(counts.T.tocsr(), params.neighbours).T.tocsr()

    def _history_matrix(self, histories: Histories) -> sparse.csr_matrix:
        """csr (B, I): decayed weights by position from the end; repeated items add up."""
        kept = histories.relevant(self.fitted.threshold)
        age = np.repeat(kept.indptr[1:], kept.lengths) - 1 - np.arange(len(kept.items))
        params = self.resolved
        weights = params.long_term + (1 - params.long_term) * params.decay ** age.astype(np.float64)
        out = sparse.csr_matrix((weights.astype(np.float32), kept.items, kept.indptr), shape=(len(kept), self.fitted.n_items), copy=True)
        out.sum_duplicates()
        return out

    def _portable(self) -> Portable:
        return self._weights_portable(decay=self.resolved.decay, long_term=self.resolved.long_term)
