"""What an answer means: the values of a plain yes and no on the data's own scale, and what of the answers a model is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..data.histories import Histories

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..models._base import Recommender


@dataclass(frozen=True)
class AnswerScale:
    """has_ratings: answers are ratings. threshold: from this value on an answer counts as liked (without ratings: any value above 0
    that reaches the data's threshold). like, dislike: the usual values of both. low, high: of the ratings, else None."""

    has_ratings: bool
    like: float
    dislike: float
    threshold: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, data: Dataset) -> AnswerScale:
        """Ratings: the middle one of those liked and of those not; without a threshold the middle of the scale parts them."""
        if data.feedback != "explicit" or not len(data):
            return cls(False, max(1.0, data.threshold or 1.0), 0.0, data.threshold)
        low, high = float(data.value.min()), float(data.value.max())
        threshold = float(data.threshold) if data.threshold is not None else (low + high) / 2
        liked = data.value >= threshold
        like = float(np.quantile(data.value[liked], 0.5, method="nearest")) if liked.any() else max(high, threshold)
        dislike = float(np.quantile(data.value[~liked], 0.5, method="nearest")) if (~liked).any() else min(low, threshold)
        return cls(True, like, dislike, threshold, low, high)

    def liked(self, values: np.ndarray) -> np.ndarray:
        """bool, the shape of values."""
        values = np.asarray(values, dtype=np.float64)
        enough = True if self.threshold is None else values >= self.threshold
        return enough if self.has_ratings else (values > 0) & enough


_scales: WeakKeyDictionary[Any, tuple[Dataset, AnswerScale]] = WeakKeyDictionary()  # of models: once, and not for every answer


def scale_of(model: Recommender) -> AnswerScale:
    """Of the data a model was trained on. Cost: the first time a pass over its interactions."""
    found = _scales.get(model)
    if found is None or found[0] is not model.fitted:
        found = _scales[model] = (model.fitted, AnswerScale.of(model.fitted))
    return found[1]


def plain_like(model: Recommender) -> float:
    """The value of an item of which no more is known than that it was chosen. A model of ratings would take 1 for a low rating."""
    return scale_of(model).like if model.predicts_ratings() else 1.0


def told(model: Recommender, histories: Histories) -> tuple[Histories, np.ndarray]:
    """(what the model is shown, bool (n,): entries of `histories` that it is not told of).

    A model of ratings is told all. A model of choices takes what it is given for liked: so it is told of dislikes only where the
    data has a threshold by which it will part them itself, and the row has something liked (a row without would be taken for liked
    as a whole, see `Histories.relevant`).
    """
    data = model.fitted
    scale = scale_of(model)
    if scale.has_ratings and model.predicts_ratings():
        return histories, np.zeros(len(histories.items), dtype=bool)
    liked, row = scale.liked(histories.values), histories.row
    hidden = ~liked
    if scale.has_ratings and data.threshold is not None:
        hidden &= (np.bincount(row[liked], minlength=len(histories)) == 0)[row]
    keep = ~hidden
    times = None if histories.times is None else histories.times[keep]
    return Histories.from_rows(len(histories), row[keep], histories.items[keep], histories.values[keep], times), hidden
