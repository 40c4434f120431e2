"""The plain mean of the normalised scores of several models."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..models._base import Source
from ..params import param
from ._base import FusedModel
from ._normalise import Normalisation, normalise
from ._parts import FusionParams


class Average(FusedModel):
    """(R1 + R2 + …) / P over the parts' normalised scores; nothing is learnt.

    Source: Fox & Shaw, "Combination of multiple searches", TREC-2 1994 (CombSUM; the mean gives the same order).
    Differs: scores are brought to one scale per user, over the items the user has not had.
    Shapes: P × (B, I) -> (B, I). Cost: the parts' own, and a few passes over B × I.
    """

    key = "average"
    label = "Average fusion"
    summary = "The mean of what several models say: no weights to learn, so quick and safe where held-out data are few."
    source = Source("Fox & Shaw, Combination of multiple searches, TREC-2 1994", "https://trec.nist.gov/pubs/trec2/papers/ps/vpi.ps.gz")

    class Params(FusionParams):
        normalization: Normalisation = param(
            "z",
            label="Score scale",
            help="How scores are made comparable. z: distance from the user's mean score; minmax: 0 to 1; rank: order only.",
        )

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        ignore = histories.matrix(self.fitted.n_items).toarray().astype(bool)
        total = np.zeros(scores[0].shape, dtype=np.float32)
        for part in scores:
            total += normalise(part, self.params.normalization, ignore)
        return total / np.float32(len(scores))

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        ignore = history.matrix(self.fitted.n_items).toarray().astype(bool)
        shares = np.array([float(normalise(s, self.params.normalization, ignore)[0, item]) for s in scores]) / len(scores)
        said = "Each model's normalised score for this item, divided by the number of models; the shares add up to the fused score."
        return shares, float(shares.sum()), True, said
