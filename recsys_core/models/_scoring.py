"""Scores in blocks, and what stands in where a model has nothing to go by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..data.dataset import Dataset
from ..data.histories import Histories
from ._card import BATCH_BYTES


class Scoring:
    """The half of a recommender that every model shares unseen: blocks of rows, and popularity for users without a history."""

    fitted: Dataset
    personalised: ClassVar[bool]
    reads_user_table: ClassVar[bool] = False  # a user without history is then served from the user table, by `_table_scores`
    adapts: ClassVar[bool] = False  # learns from a history by steps of its own: `scores_after`, `adapted_vectors`, `item_vectors`
    has_prior: ClassVar[bool] = False  # serves somebody of whom nothing is known by what it learnt, not by popularity
    _scores: Any
    _history_scores: Any
    _table_scores: Any

    @property
    def given_to_strangers(self) -> str:
        """What somebody gets of whom nothing is known, in words that go on from "they get"."""
        return "what it expects of anybody" if self.has_prior else "the most popular items"

    def _history_sizes(self) -> np.ndarray:
        return np.diff(self.fitted.matrix("seen").indptr)

    def _batches(self, n: int) -> Iterator[slice]:
        rows = int(np.clip(BATCH_BYTES // (4 * max(1, self.fitted.n_items)), 16, 4096))
        for start in range(0, n, rows):
            yield slice(start, min(start + rows, n))

    def _popularity(self) -> np.ndarray:
        """float32 (I,): the fallback's scores, in (0, 1]."""
        counts = self.fitted.item_counts.astype(np.float32)
        return counts / max(1.0, float(counts.max(initial=0)))

    def _with_fallback(self, users: np.ndarray, known: np.ndarray) -> np.ndarray:
        if known.all() or not self.personalised:
            return np.asarray(self._scores(np.maximum(users, 0)), dtype=np.float32)
        nothing = self._history_scores(Histories.from_lists([[]]))[0] if self.has_prior else self._popularity()
        scores = np.tile(np.asarray(nothing, np.float32), (len(users), 1))
        if known.any():
            scores[known] = self._scores(users[known])
        in_table = np.flatnonzero(~known & (users >= 0)) if self.reads_user_table else []
        if len(in_table):
            scores[in_table] = self._table_scores(self.fitted.histories(users[in_table]), users[in_table])
        return scores

    def _from_histories(self, histories: Histories, users: np.ndarray | None = None) -> np.ndarray:
        if users is not None and self.reads_user_table:
            return np.asarray(self._table_scores(histories, users), dtype=np.float32)
        known = histories.lengths > 0
        if known.all() or not self.personalised or self.has_prior:
            return np.asarray(self._history_scores(histories), dtype=np.float32)
        scores = np.tile(self._popularity(), (len(histories), 1))
        if known.any():
            scores[known] = self._history_scores(histories.take(np.flatnonzero(known)))
        return scores
