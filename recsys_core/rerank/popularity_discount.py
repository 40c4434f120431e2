"""A discount on popular items: what everybody knows has to be that much better to be shown."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..data.histories import Histories
from ..models._card import Source
from ..params import Params, param
from ._base import Reranker, Shelf


class PopularityDiscount(Reranker):
    """Order by relevance - s · log popularity scaled to [0, 1]; or less its distance from what the user is used to.

    Source: the ranking-stage discount of Abdollahpouri et al., "Managing popularity bias in recommender systems with
    personalized re-ranking", FLAIRS 2019, https://arxiv.org/abs/1901.07555, in its simplest form; the user's own level as in
    Abdollahpouri et al., "User-centered evaluation of popularity bias", UMAP 2021, https://doi.org/10.1145/3450613.3456821.
    Shapes: items (B, C) -> columns (B, k). Cost: one sort of B · C values.
    """

    key = "popularity_discount"
    label = "Popularity discount"
    summary = "Lowers what is popular with everybody, so that less known items rise; simple, and its price is easy to see."
    source = Source(
        "Abdollahpouri, Burke & Mobasher, Managing popularity bias in recommender systems with personalized re-ranking, FLAIRS 2019",
        "https://arxiv.org/abs/1901.07555",
    )
    aim = "novelty"

    class Params(Params):
        strength: float = param(
            0.4,
            ge=0.0,
            le=1.0,
            tune=(0.0, 1.0, "linear"),
            label="Discount",
            help="0 keeps the list; 1 takes off as much for the most popular item as lies between the best and the worst candidate.",
        )
        towards: Literal["less_known", "own_level"] = param(
            "less_known",
            label="Towards",
            help="less_known: the rarer the better, for everybody. own_level: near the popularity of what the user liked before.",
        )

    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        level = popularity_level(shelf.popularity)
        discount = level[np.maximum(items, 0)]
        if self.params.towards == "own_level":
            liked = histories.relevant(shelf.train.threshold)
            usual = np.bincount(liked.row, level[liked.items], len(liked)) / np.maximum(liked.lengths, 1)
            discount = np.where(liked.lengths[:, None] > 0, np.abs(discount - usual[:, None]), 0)
        strength = self.params.strength
        value = np.where(items >= 0, relevance.astype(np.float64) - strength * discount, -np.inf)
        order = np.argsort(-value, axis=1, kind="stable")[:, :k]
        return np.where(np.take_along_axis(items, order, axis=1) >= 0, order, -1)


def popularity_level(popularity: np.ndarray) -> np.ndarray:
    """float (I,): log(1 + users) from 0 (nobody) to 1 (the most popular item)."""
    level = np.log1p(popularity.astype(np.float64))
    return level / max(1e-12, level.max(initial=0.0))
