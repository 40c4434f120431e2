"""What a click, a like or a dislike means to a model: `evaluation.questions` for one user, without scipy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .history import History


@dataclass(frozen=True)
class Scale:
    """has_ratings: values are ratings. threshold: from this value on one counts as liked. like, dislike: the usual values of both.
    model_threshold: by which the model parts what it is told (None: it takes all for liked). predicts_ratings: it is told everything.
    lowest, highest: ratings of the data; None: not known."""

    has_ratings: bool
    like: float
    dislike: float
    threshold: float | None
    model_threshold: float | None
    predicts_ratings: bool
    lowest: float | None = None
    highest: float | None = None

    def held(self, values: Any) -> Any:
        """Ratings within those of the data, the shape of what is given: a model that predicts them believes any number."""
        if not self.has_ratings or self.lowest is None or self.highest is None:
            return values
        return np.clip(values, self.lowest, self.highest) if isinstance(values, np.ndarray) else min(max(values, self.lowest), self.highest)

    @property
    def plain_like(self) -> float:
        """The value of an item of which no more is known than that it was chosen."""
        return self.like if self.predicts_ratings else 1.0

    def liked(self, values: np.ndarray) -> np.ndarray:
        """bool, the shape of values."""
        values = np.asarray(values, dtype=np.float64)
        enough = np.ones(values.shape, bool) if self.threshold is None else values >= self.threshold
        return enough if self.has_ratings else (values > 0) & enough

    def likes(self, value: float | None) -> bool:
        """Whether a rating with this value says that the item was liked."""
        return value is not None and bool(self.liked(np.array([value]))[0])

    def told(self, history: History, trained: int = 0) -> History:
        """What of it the model is shown: all where it predicts ratings; else what was liked, and dislikes only where the model parts
        them itself and there is something liked beside them. trained: the first so many entries are of the training data and go on being
        told: what the model took for chosen in training, it goes on taking for chosen."""
        if not len(history) or (self.has_ratings and self.predicts_ratings):
            return history
        liked = self.liked(history.values)
        liked[:trained] = True
        if self.has_ratings and self.model_threshold is not None and liked.any():
            return history
        return history if liked.all() else history.take(liked)
