"""Several models that adapt, side by side, with weights for how many items somebody has shown."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Form, Stored
from ._entries import popularity_of


class MetaAverage(Form):
    """Σ w_p(n) · f_p(item): f_p the scores of part p on a common scale, n the number of items shown: `fusion.meta_average`.

    settings: threshold; levels, numbers of items shown that there are weights for; scale: "z" or "probability"; similar: which parts tell
    what is similar. Matrices: table (L · P,), a level after another. Parts: the models. Cost: the sum of theirs.
    """

    key = "meta_average"
    serves_nothing = True

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.parts, self.popularity = stored.parts, popularity_of(stored.counts)
        self.table = stored.array("table").reshape(len(self.settings["levels"]), -1)

    def weights(self, history: History) -> np.ndarray:
        """float64 (P,): between levels on the scale of log(1 + items), beyond the last as there."""
        shown = len(np.unique(history.relevant(self.settings["threshold"]).items))
        marks = np.log1p(np.asarray(self.settings["levels"], float))
        return np.array([np.interp(np.log1p(shown), marks, column) for column in self.table.T])

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        left = np.ones(len(self.popularity), bool)
        left[history.items] = False
        total = np.zeros(len(self.popularity), np.float32)
        for weight, part in zip(self.weights(history), self.parts, strict=True):
            served = part.scores(history, user) if len(history) or part.serves_nothing else self.popularity
            total += np.float32(weight) * _on_scale(_finite(served), self.settings["scale"], left)
        return total

    def similar(self, item: int) -> np.ndarray | None:
        every, total = np.ones(len(self.popularity), bool), np.zeros(len(self.popularity), np.float32)
        able = [
            (w, part) for w, part, tells in zip(self.table.mean(0), self.parts, self.settings["similar"], strict=True) if tells and w > 0
        ]
        for weight, part in able:
            found = part.similar(item)
            if found is None:
                return None
            total += np.float32(weight) * _on_scale(np.nan_to_num(found, neginf=0.0), "z", every)
        return total if able else None


def _finite(scores: np.ndarray) -> np.ndarray:
    """Where a part has nothing to say of an item: what it says of the worst, and for inf of the best."""
    known = np.isfinite(scores)
    if known.all():
        return scores
    lowest, highest = (scores[known].min(), scores[known].max()) if known.any() else (0, 0)
    return np.where(known, scores, np.where(scores == np.inf, highest, lowest)).astype(np.float32)


def _on_scale(scores: np.ndarray, scale: str, left: np.ndarray) -> np.ndarray:
    """z-scores or log-probabilities over the items that are left, bool (I,)."""
    among = scores[left]
    if not len(among):
        return np.zeros_like(scores)
    if scale == "z":
        centred = scores - among.mean()
        spread = np.sqrt(np.square(centred[left]).mean())
        tiny = spread <= 1e-12 * max(1.0, float(np.abs(scores).max()))
        return np.zeros_like(scores) if tiny else (centred / spread).astype(np.float32)
    top = among.max()
    return (scores - top - np.log(max(float(np.exp(among - top).sum()), 1e-30))).astype(np.float32)
