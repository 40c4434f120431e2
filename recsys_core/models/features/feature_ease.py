"""EASE with side information: items are also linked by what the item table says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...params import param
from .._base import Cost, Need, Source
from .._features import SideFeatures
from .._updating import Updating
from ..cf._ease import ClosedForm, ClosedFormParams
from ._content import READ, UNREAD, ItemVectors, item_table


class FeatureEaseParams(ClosedFormParams):
    alpha: float = param(
        0.3,
        label="Weight of the columns",
        help="How much the columns of the item table count beside the interactions, 1: as much; 0 is plain EASE.",
        ge=0,
        le=1_000,
        tune=(0.01, 3, "log"),
    )
    fields: Literal["categories and text", "categories", "everything"] = param(
        "everything",
        label="Columns read",
        help="Which kinds of columns of the item table link two items.",
    )


class FeatureEase(ClosedForm):
    """EASE on the interactions with the items' features stacked below them as further "users".

    Source: Jeunen, Van Balen, Goethals (2020), "Closed-Form Models for Collaborative Filtering with Side-Information", RecSys,
    https://doi.org/10.1145/3383313.3418480, section 3.1 (CEASE): B minimises |S - SB|² + λ|B|² with S = [X; α^½ Fᵀ].
    Differs: the features of an item have length 1, every column with an equal say, and alpha is relative to the mean number of
    interactions of an item, so that it means the same on any data; with 0 this is EASE to the last digit.
    New items: a column without interactions is fitted to its features alone, so it gets weights from items like it.
    Shapes: weights (M, M) float32; column i scores item i.
    Cost: as EASE: 12 M² bytes and about M³ / 3e10 seconds.
    """

    key = "feature_ease"
    label = "EASE with features"
    family = "Features"
    summary = "As accurate and as plain as EASE, helped by columns where interactions are few; up to some 20,000 items."
    source = Source(
        "Jeunen, Van Balen, Goethals (2020), Closed-Form Models for Collaborative Filtering with Side-Information, RecSys",
        "https://doi.org/10.1145/3383313.3418480",
    )
    needs = frozenset({Need.ITEM_TABLE})
    reads_features = True
    feature_sides = ("item",)
    Params = FeatureEaseParams

    @classmethod
    def unread_kinds(cls, params: FeatureEaseParams) -> tuple[str, ...]:
        return UNREAD[params.fields]

    def cost(self, stats: DatasetStats) -> Cost:
        plain = super().cost(stats)
        return replace(plain, memory_bytes=plain.memory_bytes + 1600 * stats.n_items, seconds=plain.seconds + 1e-5 * stats.n_items)

    _update = Updating._update  # columns are part of what was inverted, and no table is saved: the weights stay, histories go on

    def _add_to(self, square: np.ndarray, data: Dataset, ctx: RunContext) -> None:
        params = self.resolved
        if params.alpha == 0:
            return
        table = item_table(SideFeatures.fit(data, ctx, sides=self.feature_sides, without=UNREAD[params.fields]))
        vectors = ItemVectors.of(table, READ[params.fields])
        self.notes.append(f"Columns read: {', '.join(name for name, kind in table.fields if kind in READ[params.fields])}.")
        chosen = np.arange(data.n_items) if self._modelled is None else self._modelled
        weight = params.alpha * data.item_counts[chosen].mean()
        for start in range(0, len(chosen), 512):
            ctx.check()
            rows = chosen[start : start + 512]
            square[start : start + 512] += weight * vectors.similar(rows)[:, chosen]
