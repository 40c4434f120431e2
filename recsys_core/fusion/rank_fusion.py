"""Vote by the places items have in the lists of several models, not by their scores."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..data.histories import Histories
from ..models._base import Source
from ..models._portable import Portable
from ..params import param
from ._base import FusedModel
from ._normalise import normalise
from ._parts import FusionParams
from ._ranks import ballot, mean_minmax, spread

BEHIND = 2.0  # items nobody votes for stand between -2 and -1, below every vote


class RankFusion(FusedModel):
    """The first `depth` items of every part get its vote; the votes of an item add up.

    reciprocal: Σ 1 / (constant + place), eq. of Cormack et al. borda: Σ (depth + 1 - place). combmnz: number of parts
    that vote for it × Σ of their scores, each part's brought to 0 to 1 per user.
    Source: Cormack, Clarke, Büttcher, SIGIR 2009; Fox & Shaw, TREC-2 1994 (CombMNZ); Aslam & Montague, SIGIR 2001 (Borda).
    Differs: equal scores share the mean of their places, and do not vote when they tie with items beyond the depth; Borda gives
    nothing to items beyond the depth instead of an equal share of what is left. Items without a vote follow behind by the mean
    of their normalised scores, so that a list never ends early.
    Shapes: P × (B, I) -> (B, I). Cost: the parts' own, and a partial sort of B × I a part; memory 3 × B × I.
    """

    key = "rank_fusion"
    label = "Rank fusion"
    summary = "Lets models vote by place, so that a model with odd or huge scores cannot shout the others down."
    source = Source(
        "Cormack, Clarke, Büttcher: Reciprocal rank fusion outperforms Condorcet and individual rank learning methods (SIGIR 2009)",
        "https://doi.org/10.1145/1571941.1572114",
    )

    class Params(FusionParams):
        rule: Literal["reciprocal", "borda", "combmnz"] = param(
            "reciprocal",
            label="Rule of the vote",
            help="reciprocal: high places count most; borda: each place is one point less; combmnz: scores, times how many models agree.",
        )
        constant: float = param(
            60.0,
            label="Constant of reciprocal",
            help="For the rule reciprocal: a place counts 1 / (constant + place). Small values listen to the very first places only.",
            ge=0,
            le=10_000,
            tune=(1, 200, "log"),
        )
        depth: int = param(
            200,
            label="Voting depth",
            help="How many of each model's first items get its vote; all others follow behind them.",
            ge=1,
            le=100_000,
            tune=(20, 1000, "log"),
        )

    def _votes(self, scores: list[np.ndarray], ignore: np.ndarray) -> list[np.ndarray]:
        """float32 (B, I) of every part: what its vote is worth, 0 where it gives none. With combmnz still to be multiplied by
        the number of voters."""
        rule, depth, n_items = self.params.rule, self.params.depth, ignore.shape[1]
        votes = []
        for part in scores:
            items, places = ballot(part, ignore, depth)
            if rule == "combmnz":
                worth = np.take_along_axis(np.clip(normalise(part, "minmax", ignore), 0, 1), np.maximum(items, 0), axis=1)
                worth = np.where(np.isnan(places), np.nan, np.maximum(worth, np.finfo(np.float32).tiny))  # a vote, if for the last
            else:
                worth = depth + 1 - places if rule == "borda" else 1 / (self.params.constant + places)
            votes.append(spread(items, worth, n_items))
        return votes

    def _portable(self) -> Portable:
        p = self.params
        return self._packed("rank_fusion", rule=p.rule, constant=p.constant, depth=p.depth, behind=BEHIND)

    def _combine(self, scores: list[np.ndarray], histories: Histories) -> np.ndarray:
        ignore = histories.matrix(self.fitted.n_items).toarray().astype(bool)
        votes = self._votes(scores, ignore)
        total = np.sum(votes, axis=0, dtype=np.float32)
        if self.params.rule == "combmnz":
            total *= np.sum([vote > 0 for vote in votes], axis=0)
        return np.where(total > 0, total, mean_minmax(scores, ignore) - np.float32(BEHIND))

    def _shares(self, scores: list[np.ndarray], history: Histories, item: int) -> tuple[np.ndarray, float, bool, str]:
        ignore = history.matrix(self.fitted.n_items).toarray().astype(bool)
        votes = np.array([float(vote[0, item]) for vote in self._votes(scores, ignore)])
        agree = int((votes > 0).sum())
        if not agree:
            each = np.array([float(np.clip(normalise(s, "minmax", ignore)[0, item], 0, 1)) for s in scores]) / len(scores)
            said = f"No model has it among its first {self.params.depth:,}: it stands behind those, by the mean of the normalised scores."
            return each, float(each.sum()), False, said
        voters = (
            f"{agree} of {len(votes)} models {'has' if agree == 1 else 'have'} it among their first {self.params.depth:,} and vote for it"
        )
        if self.params.rule == "combmnz":
            votes *= agree
            said = f"{voters}; a share is the model's score on a scale of 0 to 1, times {agree}; the shares add up to the fused score."
        else:
            said = f"{voters}; a share is what the model's place for it is worth; the shares add up to the fused score."
        return votes, float(votes.sum()), True, said
