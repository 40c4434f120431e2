"""Content neighbours: items like those of the history, by what the item table says alone."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...data.topk import top_k
from ...params import Params, param
from .._base import Cost, Explanation, Need, Recommender, Source, block_bytes
from .._features import SideFeatures
from .._portable import Portable
from ..cf import _params as shared
from ..cf._neighbours import fill_by_popularity, folded
from ..cf._params import ValueUse
from ._content import READ, UNREAD, ItemVectors, item_table

BLOCK_CELLS = 8_000_000  # similarities held at once


class ContentKnnParams(Params):
    fields: Literal["categories and text", "categories", "everything"] = param(
        "categories and text",
        label="Columns read",
        help="Which kinds of columns of the item table make two items alike.",
    )
    neighbours: int = param(
        50,
        label="Neighbours",
        help="How many of the most similar items that somebody has chosen speak for an item; 0 takes all of them.",
        ge=0,
        le=5_000,
        tune=(5, 500, "log"),
    )
    sharpness: float = param(
        1.0,
        label="Sharpness",
        help="Above 1 the most similar neighbours count for more than the others. Without a limit on neighbours it has no effect.",
        gt=0,
        le=20,
        tune=(0.5, 6, "log"),
    )
    values: ValueUse = shared.value_use()
    field_weights: dict[str, float] = param(
        {},
        label="Weights of columns",
        help="How much single columns count, by name; 1 where nothing is said, 0 leaves one out.",
        advanced=True,
    )


class ContentKnn(Recommender):
    """Score of an item = sum of its similarities to the items of the history; nobody need have chosen it before.

    Source: Lops, de Gemmis, Semeraro (2011), "Content-based Recommender Systems: State of the Art and Trends", section 3.3.1:
    items as vectors of weighted terms, compared by cosine.
    Differs: every column is a vector of length 1 of its own (categories weighed by rarity, texts as encoded, numbers by nearness),
    so that a column counts the same however many values it has; only the `neighbours` nearest items with interactions speak.
    Shapes: vectors csr (I, categories) and float32 (I, d); weights csr (I, I): row = item of the history, column = item scored.
    Cost: I² × features per item; 12 bytes × I × neighbours.
    """

    key = "content_knn"
    label = "Content neighbours"
    family = "Features"
    summary = "Serves new items at once and says why in plain columns; prefer it while there are few interactions, or to compare against."
    source = Source("Lops, de Gemmis, Semeraro (2011), Content-based Recommender Systems", "https://doi.org/10.1007/978-0-387-85820-3_3")
    needs = frozenset({Need.ITEM_TABLE})
    reads_features = True
    feature_sides = ("item",)
    Params = ContentKnnParams
    vectors: ItemVectors
    _weights: sparse.csr_matrix | None

    @classmethod
    def unread_kinds(cls, params: ContentKnnParams) -> tuple[str, ...]:
        return UNREAD[params.fields]

    def cost(self, stats: DatasetStats) -> Cost:
        width = 200  # numbers that describe an item, as a rule
        kept = 12 * stats.n_items * min(self.params.neighbours, stats.n_items)
        memory = 2 * kept + 8 * stats.n_items * width + 12 * min(BLOCK_CELLS, stats.n_items**2) + 24 * stats.n_interactions
        pairs = stats.n_items**2 if self.params.neighbours else 0
        return Cost(memory + block_bytes(stats), 0.2 + 1e-5 * stats.n_items + 3e-8 * pairs, "the square of the items")

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        params = self.resolved
        part = ctx.part("Reading the item table", 0.0, 0.3)
        read = SideFeatures.fit(data, part, sides=self.feature_sides, without=UNREAD[params.fields])
        table, kinds = item_table(read), READ[params.fields]
        self.vectors = ItemVectors.of(table, kinds, params.field_weights)
        used = [name for name, kind in table.fields if kind in kinds and params.field_weights.get(name, 1) > 0]
        self.notes.append(f"Columns compared: {', '.join(used)}.")
        self._weights = self._nearest(data, ctx.part("", 0.3, 1.0)) if params.neighbours else None

    def _nearest(self, data: Dataset, ctx: RunContext) -> sparse.csr_matrix:
        """csr (I, I): column j keeps the nearest items to j among those that somebody chose."""
        n, sources = data.n_items, np.flatnonzero(data.item_counts)
        keep = min(self.resolved.neighbours, len(sources))
        found, values = np.empty((n, keep), np.int32), np.empty((n, keep), np.float32)
        step = max(1, BLOCK_CELLS // n)
        for start in range(0, n, step):
            ctx.report("Comparing items", start / n)
            rows = np.arange(start, min(start + step, n))
            near = self.vectors.similar(rows)
            near[np.arange(len(rows)), rows] = -np.inf
            near = near[:, sources]
            near[near <= 0] = -np.inf
            found[rows], values[rows] = top_k(near, keep)
        scored, rank = np.nonzero(found >= 0)
        weights = values[scored, rank] ** np.float32(self.resolved.sharpness)
        return sparse.csr_matrix((weights, (sources[found[scored, rank]], scored)), shape=(n, n), dtype=np.float32)

    # ---- scoring ---------------------------------------------------------------------------------
    def _entries(self, histories: Histories) -> sparse.csr_matrix:
        return folded(histories, self.fitted, self.resolved.values)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        entries = self._entries(histories)
        scores = self.vectors.scores(entries) if self._weights is None else (entries @ self._weights).toarray()
        return fill_by_popularity(scores, self._popularity())

    def _similar(self, items: np.ndarray) -> np.ndarray:
        return self.vectors.similar(items)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        entries = self._entries(history)
        column = self.vectors.similar(np.array([item]))[0] if self._weights is None else self._weights[:, [item]].toarray().ravel()
        method = "How alike each item of the history and this one are by their columns; they add up to the score."
        return Explanation.of_history(entries.indices, entries.data * column[entries.indices], k, method)

    def _portable(self) -> Portable:
        settings = {"threshold": self.fitted.threshold, "values": self.resolved.values}
        parts = {"wide": self.vectors.sparse, "flat": self.vectors.dense, "weights": self._weights}
        return Portable("content_knn", {name: part for name, part in parts.items() if part is not None and part.shape[1]}, settings)

    def _state(self) -> dict[str, Any]:
        return self.vectors.state() | ({} if self._weights is None else {"weights": self._weights})

    def _restore(self, state: dict[str, Any]) -> None:
        self.vectors, self._weights = ItemVectors.restore(state), state.get("weights")
