"""Several models that adapt, side by side, with weights for how many items somebody has shown."""

from __future__ import annotations

import numpy as np

from ..history import History
from ..normalise import normalise
from ._base import Stored
from ._fused import Fused


class MetaAverage(Fused):
    """Σ w_p(n) · f_p(item): f_p the scores of part p on a common scale, n the number of items shown: `fusion.meta_average`.

    settings: threshold; levels, numbers of items shown that there are weights for; scale: "z" or "probability"; labels; weights, the
    parts' on average. Matrices: table (L · P,), a level after another. Cost: the sum of the parts'.
    """

    key = "meta_average"
    serves_nothing = True

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.table = stored.array("table").reshape(-1, len(self.parts))

    def weights(self, history: History) -> np.ndarray:
        """float64 (P,): between levels on the scale of log(1 + items), beyond the last as there."""
        shown = len(np.unique(history.relevant(self.settings["threshold"]).items))
        marks = np.log1p(np.asarray(self.settings["levels"], float))
        return np.array([np.interp(np.log1p(shown), marks, column) for column in self.table.T])

    def combine(self, raw: list[np.ndarray], history: History) -> np.ndarray:
        had, total = self.had(history), np.zeros(self.n_items, np.float32)
        for weight, one in zip(self.weights(history), raw, strict=True):
            total += np.float32(weight) * self._on_scale(one, had)[0]
        return total

    def _on_scale(self, scores: np.ndarray, had: np.ndarray) -> np.ndarray:
        """float32 (1, I): z-scores or log-probabilities, over the items that the user has not had."""
        if self.settings["scale"] == "z":
            return normalise(scores, "z", had)
        left = scores[~had]
        top = left.max() if len(left) else np.float32(0)
        return scores - top - np.log(np.maximum(np.exp(left - top).sum(), np.float32(1e-30)))

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]]:
        """Weight times what it says on the common scale; they add up to the score."""
        had = self.had(history)
        said = [float(self._on_scale(one, had)[0, item]) for one in self.raw(history)]
        return [(label, float(weight) * one) for label, weight, one in zip(self.labels, self.weights(history), said, strict=True)]

    def similar(self, item: int) -> np.ndarray | None:
        total = None
        for weight, part in zip(self.settings["weights"], self.parts, strict=True):
            found = part.similar(item) if weight > 0 else None
            if found is not None:
                scaled = np.float32(weight) * normalise(np.nan_to_num(found, neginf=0.0)[None], "z")[0]
                total = scaled if total is None else total + scaled
        return total
