"""xQuAD: places go to what the user likes and the list does not have yet."""

from __future__ import annotations

import numpy as np

from ..data.histories import Histories
from ..models._card import Source
from ..params import Params, param
from ._base import Reranker, Shelf, first_best
from ._rows import CandidateRows
from ._taste import tastes


class XQuAD(Reranker):
    """argmax (1 - s) · relevance + s · Σ over categories of taste · share of the item · Π (1 - share of those chosen before).

    Source: Santos, Macdonald & Ounis, "Exploiting query reformulations for web search result diversification", WWW 2010,
    https://doi.org/10.1145/1772690.1772780, with categories as the aspects of a user: their weight is the user's own mix of
    categories in training. Differs: P(item | aspect) is the item's share of the category, 1 / its number of them; relevance
    and the gain of the first place are scaled to [0, 1] within the candidates, so that s = .5 weighs them alike. A user
    without a history weighs all categories alike.
    Shapes: items (B, C) -> columns (B, k). Cost: k · B · C · categories multiplications (of an item's own, where there are many).
    """

    key = "xquad"
    label = "Explicit aspects (xQuAD)"
    summary = "Gives each of the user's own interests a place in the list, the stronger ones first."
    source = Source(
        "Santos, Macdonald & Ounis, Exploiting query reformulations for web search result diversification, WWW 2010",
        "https://doi.org/10.1145/1772690.1772780",
    )
    uses_similarity = True

    class Params(Params):
        strength: float = param(
            0.3, ge=0.0, le=1.0, tune=(0.0, 1.0, "linear"), label="Diversity", help="0 keeps the list; 1 looks at interests alone."
        )

    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        strength, width = np.float32(self.params.strength), min(k, items.shape[1])
        chosen = np.full((len(items), width), -1, dtype=np.int64)
        rows, candidates = np.arange(len(items)), CandidateRows(shelf.groups, items)
        wanting = tastes(histories, shelf, shelf.groups)  # (B, G): what of the taste the list does not serve yet
        unknown = ~wanting.any(axis=1)
        wanting[unknown] = 1 / wanting.shape[1]
        served = candidates.times(wanting)
        wanting /= np.maximum(np.where(items >= 0, served, 0).max(axis=1, keepdims=True), 1e-6)
        value = (1 - strength) * relevance
        value[items < 0] = -np.inf
        for place in range(width):
            best = first_best(value + strength * candidates.times(wanting))
            open_ = value[rows, best] > -np.inf
            chosen[:, place] = np.where(open_, best, -1)
            value[rows, best] = -np.inf
            wanting *= 1 - candidates.of(best)
        return chosen
