"""Calibrated lists: their mix of categories follows the user's own."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..metrics._shares import SMOOTHING
from ..models._card import Source
from ..params import Params, param
from ._base import Reranker, Shelf, first_best
from ._rows import CandidateRows
from ._taste import tastes


class Calibrated(Reranker):
    """Greedy argmax of (1 - s) · Σ relevance - s · KL(user's mix of categories || the list's).

    Source: Steck, "Calibrated recommendations", RecSys 2018, https://doi.org/10.1145/3240323.3240372, equations 2 to 7 with
    smoothing .01. Differs: relevance is the score scaled to [0, 1] within the candidates; every liked item of the history
    counts the same; greedy as in the paper, vectorised over users. An item changes the divergence in its own categories
    only, so a candidate costs as many logarithms as it has categories. A user without a history keeps the list. Items
    without categories serve no interest, as in the metric: what they could borrow from others is a mixture of everything, which
    greedy calibration would take for the perfect item.
    Shapes: items (B, C) -> columns (B, k). Cost: k · B · C · categories of an item logarithms.
    """

    key = "calibrated"
    label = "Calibrated to the user's own mix"
    summary = "Who reads seven crime novels to three of history gets a list of about that mix, not ten crime novels."
    source = Source("Steck, Calibrated recommendations, RecSys 2018", "https://doi.org/10.1145/3240323.3240372")
    aim = "miscalibration"
    uses_similarity = True

    class Params(Params):
        strength: float = param(
            0.5, ge=0.0, le=1.0, tune=(0.0, 1.0, "linear"), label="Calibration", help="0 keeps the list; 1 looks at the mix alone."
        )

    @classmethod
    def notes(cls, shelf: Shelf) -> list[str]:
        if not shelf.n_without:
            return super().notes(shelf)
        what = "1 item has no category and serves" if shelf.n_without == 1 else f"{shelf.n_without:,} items have no category and serve"
        return [f"{what} none of a user's interests, so the more calibrated a list is, the fewer of them it holds."]

    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        strength, width, shares = np.float32(self.params.strength), min(k, items.shape[1]), shelf.catalog.shares
        chosen = np.full((len(items), width), -1, dtype=np.int64)
        rows, candidates = np.arange(len(items)), CandidateRows(shares, items, keep_sparse=True)
        taste = tastes(histories, shelf, shares)
        floor, sums = np.float32(SMOOTHING) * taste, np.zeros_like(taste)
        own_taste, own_floor = taste.reshape(-1)[candidates.places], floor.reshape(-1)[candidates.places]  # of every entry
        share = np.float32(1 - SMOOTHING) * candidates.rows.data
        value = (1 - strength) * relevance
        value[items < 0] = -np.inf
        for place in range(width):
            base = np.float32(1 - SMOOTHING) / (place + 1) * sums + floor
            before = base.reshape(-1)[candidates.places]
            after = before + share / np.float32(place + 1)
            # With p = 0 the category does not count; its floor is 0 too, so the ratio is taken of ones instead.
            ratio = np.where(own_floor > 0, after, 1) / np.where(own_floor > 0, before, 1)
            gain = candidates.sums(own_taste * np.log(ratio))  # how far the divergence falls, but for what all candidates share
            best = first_best(value + strength * gain)
            open_ = value[rows, best] > -np.inf
            chosen[:, place] = np.where(open_, best, -1)
            value[rows, best] = -np.inf
            sums += candidates.of(best)
        return chosen
