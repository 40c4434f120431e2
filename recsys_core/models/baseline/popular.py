"""The most popular items, optionally of late."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import params as p
from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from .._base import Cost, Recommender
from .._portable import Portable

SECONDS_PER_DAY = 86_400


class PopularParams(p.Params):
    half_life_days: float | None = p.param(
        None,
        label="Half-life in days",
        help="After this many days an interaction counts half. Empty: old and new count the same.",
        gt=0,
        le=36_500,
        tune=(1, 365, "log"),
    )


class Popular(Recommender):
    """Items by the number of distinct users, or by interactions that fade with age.

    Differs: with a half-life the score is the sum of 0.5 ** (age / half-life), age counted back from the
    last interaction of the training set, so that it does not depend on today's date.
    Cost: one pass over the interactions.
    """

    key = "popular"
    takes_new_items = True
    label = "Most popular"
    family = "Baseline"
    summary = "The yardstick: what everybody uses. A model that does not beat it has learnt nothing personal."
    personalised = False
    Params = PopularParams

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        half_life = self.resolved.half_life_days
        if half_life is None:
            self._item_scores = data.item_counts.astype(np.float32)
            return
        if data.time is None:
            raise Unsupported(
                f"{self.label} with a half-life of {half_life:g} days needs a time for every interaction; this dataset has none.",
                "Leave the half-life empty or map a time column.",
            )
        time, item = data.time[data.relevant], data.item[data.relevant]
        age_days = (time.max() - time) / SECONDS_PER_DAY
        self._item_scores = np.bincount(item, weights=0.5 ** (age_days / half_life), minlength=data.n_items).astype(np.float32)

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        self._fit(self.fitted, ctx, None)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return np.tile(self._item_scores, (len(users), 1))

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return np.tile(self._item_scores, (len(histories), 1))

    def cost(self, stats: DatasetStats) -> Cost:
        return Cost(32 * stats.n_interactions + 8 * stats.n_items, 0.05 + 1e-7 * stats.n_interactions, "one pass over the data")

    def _portable(self) -> Portable:
        return Portable("constant", {"scores": self._item_scores[None, :]})

    def _state(self) -> dict[str, Any]:
        return {"item_scores": self._item_scores}

    def _restore(self, state: dict[str, Any]) -> None:
        self._item_scores = state["item_scores"]
