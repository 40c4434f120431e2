"""Fusions that are a weighted sum of the parts' normalised scores: they differ in where the weights come from."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..models._portable import Portable
from ._base import FusedModel
from ._normalise import normalise, weighted_sum


class LinearFusion(FusedModel):
    """Σ w_p · z_p(item), w from `part_weights()`, z on the scale `params.normalization` over the items the user has not had."""

    @property
    def takes_new_items(self) -> bool:
        """Where every part does: nothing that is learnt here belongs to single items."""
        return all(part.takes_new_items for part in self.parts)

    def _portable(self) -> Portable:
        return self._packed("weighted_sum", normalization=self.params.normalization)

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        return weighted_sum(scores, self.part_weights(), self.params.normalization, self._had(histories))

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        had = self._had(history)
        shares = self.part_weights() * np.array([float(normalise(s, self.params.normalization, had)[0, item]) for s in scores])
        said = "Each model's weight times its normalised score for this item; the shares add up to the fused score."
        return shares, float(shares.sum()), True, said

    def _had(self, histories: Histories) -> np.ndarray:
        """bool (B, I): what each user has had."""
        return histories.matrix(self.fitted.n_items).toarray().astype(bool)
