"""Networks that become a user's own in a few gradient steps on what they show: meta-learning without torch."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ..vectors import cosine_to_all
from ._base import Form, Stored
from ._core import Adaptation, Core, Shown


class Adapting(Form):
    """score_j = items_j · user + bias_j (ratings: times spread, plus mean), the user's vector from `steps` steps on their history.

    settings: threshold; history, so many items are read; steps; anchor; trust; ratings; mean, spread; blocks, heads; weights [[name,
    shape], …]; rates {name: size} of the weights that adapt. Matrices: items (I, d), bias (I,), core (n,): all weights of the network
    one after another; roles (I, d), rating (d,) where items are read; known (U, d), what the columns of training users say.
    Nothing shown: the network as it is before any step.
    """

    key = "adapting"
    serves_nothing = True

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        s = self.settings
        self.items, self.bias = stored.matrix("items"), stored.array("bias")
        self.roles = stored.matrix("roles") if stored.has("roles") else None
        self.rating = stored.array("rating") if stored.has("rating") else None
        self.known = stored.matrix("known") if stored.has("known") else None
        weights, at, flat = {}, 0, stored.array("core")
        for name, shape in s["weights"]:
            size = int(np.prod(shape))
            weights[name], at = flat[at : at + size].reshape(shape), at + size
        self.adaptation = Adaptation(
            Core(s["blocks"], s["heads"], tuple(s["rates"])),
            weights,
            s["rates"],
            self.items.take(slice(None)),
            self.bias,
            s["trust"],
            s["steps"],
            s["anchor"],
            s["ratings"],
        )

    def shown(self, history: History, user: int = -1) -> Shown:
        """Every item once, where it came last; the most recent of them."""
        kept = history.relevant(self.settings["threshold"])
        _, from_end = np.unique(kept.items[::-1], return_index=True)
        kept = kept.take(np.sort(len(kept) - 1 - from_end)).last(self.settings["history"])
        size = self.items.shape[1]
        values = np.zeros(len(kept), np.float32)
        if self.settings["ratings"]:
            values = ((kept.values - self.settings["mean"]) / self.settings["spread"]).astype(np.float32)
        tokens = np.zeros((len(kept), size), np.float32)
        if self.roles is not None and len(kept):
            tokens = self.roles.take(kept.items) + values[:, None] * self.rating
        own = self.known.take(np.array([user]))[0] if user >= 0 and self.known is not None else np.zeros(size, np.float32)
        return Shown(kept.items, values, tokens, own)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        out = self.items.dot(self.adaptation.vector(self.shown(history, user))) + self.bias
        return np.float32(self.settings["mean"]) + np.float32(self.settings["spread"]) * out if self.settings["ratings"] else out

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self.items, self._lengths, item)

    def vector(self, history: History) -> np.ndarray:
        own = self.adaptation.vector(self.shown(history))
        if not self.settings["ratings"]:
            return np.append(own, np.float32(1))
        spread, mean = np.float32(self.settings["spread"]), np.float32(self.settings["mean"])
        return np.concatenate([spread * own, [spread, mean]]).astype(np.float32)

    @cached_property
    def item_matrix(self) -> Matrix:
        columns = [self.items.take(slice(None)), self.bias]
        return Dense(np.column_stack([*columns, np.ones_like(self.bias)] if self.settings["ratings"] else columns))

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self.items.take(slice(None)), axis=1)
