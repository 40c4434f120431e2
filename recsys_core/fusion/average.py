"""The plain mean of the normalised scores of several models."""

from __future__ import annotations

from ..models._base import Source
from ..params import param
from ._linear import LinearFusion
from ._normalise import Normalisation
from ._parts import FusionParams


class Average(LinearFusion):
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
            help="How scores are made comparable. z: distance from the user's mean score; minmax: the lowest is 0, the "
            "highest 1; rank: the order alone.",
        )
