"""What the forms of fused models share: the scores of their parts as a fusion sees them."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..history import History
from ..normalise import finite
from ._base import Form, Stored


class Fused(Form):
    """settings: labels, one for each part. A form writes `combine`."""

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.parts, self.labels = stored.parts, list(stored.settings["labels"])
        self.n_items = len(stored.counts)
        self.popularity = (stored.counts / max(1.0, float(stored.counts.max(initial=0)))).astype(np.float32)

    @abstractmethod
    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        """float32 (I,) from the scores of every part, float32 (1, I) each, all numbers."""

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        return self.combine(self.raw(history, user), history)

    def raw(self, history: History, user: int = -1) -> list[np.ndarray]:
        """float32 (1, I) of every part; what a part says nothing of counts as its worst."""
        return [finite(self.of_part(part, history, user)[None]) for part in self.parts]

    def of_part(self, part: Form, history: History, user: int) -> np.ndarray:
        """(I,): a part without anything to go by says what is popular, as it does alone."""
        return part.scores(history, user) if len(history) or part.serves_nothing else self.popularity.copy()

    def had(self, history: History) -> np.ndarray:
        """bool (1, I): what the user has had."""
        out = np.zeros((1, self.n_items), bool)
        out[0, history.items] = True
        return out

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]] | None:
        """How far the score falls when a part is made to say nothing (its scores all equal)."""
        raw = self.raw(history)
        total = float(self.combine([one.copy() for one in raw], history)[item])
        out = []
        for silent, label in enumerate(self.labels):
            without = [np.zeros_like(one) if place == silent else one.copy() for place, one in enumerate(raw)]
            out.append((label, total - float(self.combine(without, history)[item])))
        return out
