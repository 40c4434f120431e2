"""A network of one user vector and one item vector: a product, a small network beside it, or both; new users by steps on their vector."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ..vectors import cosine_to_all
from ._base import Form, Stored
from ._descent import Slope, descend
from ._pair_network import PairNetwork


class Pairs(Form):
    """Scores of a `_pair_network.PairNetwork`, plus an offset.

    New users: steps of Adam from the mean of where users of their items are, on the softmax of their choices against a sample of items,
    or on the squared errors of their ratings.
    settings: threshold; split [f, h]; steps; rate; ratings; offset; held: a number of the user's vector that does not move, which says
    nothing of items. Matrices: items, start (I, f + h); bias (I,); product (f,); hidden_bias (h,); tower<n>, tower<n>_bias: the layers;
    sample: int64 (m,), items that stand for the catalogue; users (U, f + h), the vectors that training users have.
    Cost: a step takes sample × (f + tower) multiplications, a list items × as many.
    """

    key = "pairs"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.items, self.start, self.sample = stored.matrix("items"), stored.matrix("start"), stored.array("sample")
        self.users = stored.matrix("users") if stored.has("users") else None
        factors, hidden = self.settings["split"]
        vectors = self.items.take(slice(None))
        product = vectors[:, :factors] * stored.array("product") if stored.has("product") else vectors[:, :factors]
        tall = vectors[:, factors:] + stored.array("hidden_bias") if hidden else vectors[:, factors:]
        names = [f"tower{n}" for n in range(self.settings["layers"])] if hidden else []
        layers = tuple((stored.array(name), stored.array(f"{name}_bias")) for name in names)
        self.network = PairNetwork(product, tall, stored.array("bias"), layers)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        own = self.own(history) if user < 0 or self.users is None else self.users.take(np.array([user]))[0]
        return self.network.scores(own) + np.float32(self.settings["offset"])

    def own(self, history: History) -> np.ndarray:
        """float32 (f + h,): the vector of a user never seen."""
        s = self.settings
        kept = history.relevant(None if s["ratings"] else s["threshold"])
        codes, ones = kept.row(binary=True)
        begin = self.start.weighted_sum(codes, ones) / np.float32(len(codes) or 1)
        return descend(begin, self._of_ratings(kept) if s["ratings"] else self._of_choices(codes), s["steps"], s["rate"])

    def _of_choices(self, codes: np.ndarray) -> Slope:
        """The slope of the mean over the choices of log(1 + e^(L − score)), L the logarithm of the catalogue's summed exponentials as the
        sample has it, without what was chosen."""
        others = self.sample[~np.isin(self.sample, codes)]
        network = self.network.of(np.concatenate([codes, others]))
        n, more = len(codes), np.float32(np.log(len(self.network.bias) / max(1, len(self.sample))))

        def slope(own: np.ndarray) -> np.ndarray:
            scores, read = network.scores_kept(own)
            each = np.zeros_like(scores)
            if len(others):
                top = scores[n:].max()
                likely = np.exp(scores[n:] - top)
                total = likely.sum()
                wrong = 1 / (1 + np.exp(np.clip(scores[:n] - (top + np.log(total) + more), -80, 80)))
                each[:n], each[n:] = -wrong / n, wrong.mean() * likely / total
            return self._held(network.slope(each, read))

        return slope

    def _of_ratings(self, kept: History) -> Slope:
        network, target = self.network.of(kept.items), kept.values - np.float32(self.settings["offset"])

        def slope(own: np.ndarray) -> np.ndarray:
            scores, read = network.scores_kept(own)
            return network.slope((scores - target) * np.float32(2 / max(1, len(kept))), read)

        return slope

    def _held(self, slope: np.ndarray) -> np.ndarray:
        if self.settings["held"] is not None:
            slope[self.settings["held"]] = 0
        return slope

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self._directions, self._lengths, item)

    def vector(self, history: History) -> np.ndarray | None:
        return None if self.network.layers else np.append(self.own(history), np.float32(1))

    @cached_property
    def item_matrix(self) -> Matrix | None:
        if self.network.layers:
            return None
        return Dense(np.column_stack([self.network.product, self.network.bias + np.float32(self.settings["offset"])]))

    @cached_property
    def _directions(self) -> Matrix:
        held = self.settings["held"]
        return self.items if held is None else Dense(np.delete(self.items.take(slice(None)), held, axis=1))

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self._directions.take(slice(None)), axis=1)
