"""Weighted sum of the normalised scores of several models."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..context import RunContext
from ..data.holdout import Holdout
from ..errors import ParamError
from ..models._base import Source
from ..params import param
from ._base import LEARN_DEPTH, LEARN_K
from ._linear import LinearFusion
from ._normalise import Normalisation, normalise
from ._parts import FusionParams
from ._weights import Candidates, collect, search


class Weighted(LinearFusion):
    """(λ1·R1 + λ2·R2 + …) / Σλ over the parts' normalised scores.

    Source: Fox & Shaw, "Combination of multiple searches", TREC-2 1994 (CombSUM and its weighted form).
    Differs: λ may be learnt by direct search on validation NDCG@20, on parts that have not seen it.
    Cost: the parts' own, twice when weights are learnt (once without validation, once with).
    """

    key = "weighted"
    label = "Weighted fusion"
    summary = "Adds up the scores of several models, so that one covers for the weak spots of another; usually the most accurate choice."
    source = Source("Fox & Shaw, Combination of multiple searches, TREC-2 1994", "https://trec.nist.gov/pubs/trec2/papers/ps/vpi.ps.gz")

    class Params(FusionParams):
        weights: Literal["learn", "equal"] | list[float] = param(
            "learn",
            label="Weights",
            help="How much each model counts. learn: found on held-out validation data; equal: all the same; or one number for each model.",
        )
        normalization: Normalisation = param(
            "z",
            label="Score scale",
            help="How scores are made comparable. z: distance from the user's mean score; minmax: the lowest is 0, the "
            "highest 1; rank: the order alone.",
        )

    def __init__(self, params: Any = None, **values: Any) -> None:
        super().__init__(params, **values)
        weights, models = self.params.weights, self.params.models
        if not isinstance(weights, list):
            return
        if len(weights) != len(models):
            raise ParamError(f"weights for Weighted fusion must be one number for each of the {len(models)} models; got {len(weights)}.")
        if min(weights) < 0 or sum(weights) <= 0:
            raise ParamError(f"weights for Weighted fusion must be 0 or more and not all 0; got {weights}.")

    def learns(self) -> bool:
        return self.params.weights == "learn" and len(self.params.models) > 1

    @property
    def weights(self) -> np.ndarray:
        """(P,), sum 1."""
        if "weights" in self.learnt:
            return np.asarray(self.learnt["weights"], dtype=float)
        chosen = self.params.weights
        given = np.asarray(chosen if isinstance(chosen, list) else [1.0] * len(self.params.models), dtype=float)
        return given / given.sum()

    def part_weights(self) -> np.ndarray:
        return self.weights

    def _learn(self, validation: Holdout, ctx: RunContext) -> dict[str, Any]:
        blocks, n_users = [], 0
        for rows, given, hidden, relevant, raw in self._held_out_blocks(validation, ctx):
            ignore = given.matrix(self.fitted.n_items).toarray().astype(bool)  # as in serving, whatever the candidates are
            scaled = [normalise(scores, self.params.normalization, ignore) for scores in raw]
            blocks.append(collect(scaled, hidden, relevant, LEARN_K, LEARN_DEPTH, self._order(validation, rows)))
            n_users += len(given)
        weights, reached = search(Candidates.joined(blocks), ctx)
        shares = ", ".join(f"{part.label} {weight:.0%}" for part, weight in zip(self.parts, weights, strict=True))
        self.notes.append(f"Weights learnt on {n_users:,} held-out users (NDCG@20 {reached:.3f} on these same users): {shares}.")
        return {"weights": weights}

    def refit_params(self) -> Any:
        return super().refit_params().with_(weights=[float(w) for w in self.weights])
