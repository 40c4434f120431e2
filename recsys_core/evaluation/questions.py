"""Which items to ask a new user about first: those they are likely to know and whose answer tells most about their taste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.dataset import Dataset
from ._questions_scale import AnswerScale, told


@dataclass(frozen=True)
class Asker:
    """What the training matrix says of items as questions."""

    train: Dataset
    scale: AnswerScale
    candidates: np.ndarray

    @classmethod
    def fit(cls, train: Dataset) -> Asker:
        counts = np.bincount(train.matrix("seen").indices, minlength=train.n_items)
        order = np.argsort(-counts, kind="stable").astype(np.int32)
        return cls(train, AnswerScale.of(train), order[counts[order] > 0])

    def next(self, answers: Sequence[tuple[int, float]], skipped: Sequence[int] = (), n: int = 1) -> np.ndarray:
        """int32 (up to n,) item codes to ask next, best first; none that was answered or skipped. answers: (item code, value)."""
        done = [item for item, _ in answers] + list(skipped)
        return self.candidates[~np.isin(self.candidates, done)][:n]

    def shares(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(known, liked) float (n,): shares of the training users."""
        n_users = max(1, int((self.train.matrix("seen").getnnz(axis=1) > 0).sum()))
        known = np.bincount(self.train.matrix("seen").indices, minlength=self.train.n_items)
        return known[items] / n_users, self.train.item_counts[items] / n_users


__all__ = ["AnswerScale", "Asker", "told"]
