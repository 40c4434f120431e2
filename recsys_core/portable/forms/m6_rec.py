"""Feature towers worked out beforehand, and a history pooled beside them."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ..vectors import cosine_to_all
from ._base import Form, Stored
from ._entries import popularity_of

RATING_PRIOR = np.float32(5)  # ratings of the average that a history's own mean is drawn towards
EPS = np.float32(1e-5)  # of torch's LayerNorm


class M6Rec(Form):
    """score_j = items_j · u, u of unit length (ratings: mean + spread · (items_j · u + bias_j + the history's own mean)).

    u = everyone + generate(fused / √(n + 1), Σ over the n items of a history of a_i · roles_i), as `models.features._m6_net.M6Net.users`;
    fused: what the features of a training user say; of somebody unknown, what is said without any.
    settings: threshold, history (so many items are read), ratings, mean, spread; alone: training users are served by their features
    alone where they have no history. Matrices: items, roles (I, d); everyone (d,); nobody (d,) and fused (U, d) where there are
    features of users; bias (I,) for ratings; key (I, d), query (d, d) for attention over a history; generator_norm, generator_norm_bias
    (2d,), generator0, generator0_bias, generator1, generator1_bias where there is a network.
    """

    key = "m6_rec"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        names = ("items", "roles", "fused", "key")
        self.items, self.roles, self.fused, self.keys = (stored.matrix(name) if stored.has(name) else None for name in names)
        small = ("everyone", "nobody", "bias", "query", "generator_norm", "generator_norm_bias")
        small += ("generator0", "generator0_bias", "generator1", "generator1_bias")
        self.small = {name: stored.array(name) for name in small if stored.has(name)}
        self.serves_nothing = bool(self.settings["alone"]) and self.fused is not None
        self.popularity = popularity_of(stored.counts)

    def own(self, history: History, user: int = -1) -> tuple[np.ndarray, np.float32]:
        """(float32 (d,), how far the history's ratings are from the average)."""
        s, small = self.settings, self.small
        kept = history.relevant(None if s["ratings"] else s["threshold"])
        _, from_end = np.unique(kept.items[::-1], return_index=True)
        kept = kept.take(np.sort(len(kept) - 1 - from_end)).last(s["history"])
        n = len(kept)
        weights = np.full(n, np.float32(max(1, n)) ** np.float32(-0.5), np.float32)
        if self.keys is not None and n:
            query = small["query"] @ self.roles.weighted_sum(kept.items, weights)
            logits = self.keys.take(kept.items) @ query / np.float32(len(query) ** 0.5)
            likely = np.exp(logits - logits.max())
            weights = likely / likely.sum() * np.float32(n**0.5)
        offset = np.float32(0)
        if s["ratings"]:
            amounts = ((kept.values - s["mean"]) / s["spread"]).astype(np.float32)
            weights, offset = weights * amounts, amounts.sum() / (n + RATING_PRIOR)
        pooled = self.roles.weighted_sum(kept.items, weights)
        fused = small.get("nobody", np.zeros_like(pooled))
        if user >= 0 and self.fused is not None:
            fused = self.fused.take(np.array([user]))[0]
        out = small["everyone"] + self._generated(fused * np.float32((n + 1) ** -0.5), pooled)
        return (out if s["ratings"] else out / np.float32(max(float(np.linalg.norm(out)), 1e-12))), offset

    def _generated(self, fused: np.ndarray, pooled: np.ndarray) -> np.ndarray:
        both, small = fused + pooled, self.small
        if "generator0" not in small:
            return both
        x = np.concatenate([fused, pooled])
        x = x - x.mean()
        x = x / np.sqrt(np.square(x).mean() + EPS) * small["generator_norm"] + small["generator_norm_bias"]
        x = small["generator0"] @ x + small["generator0_bias"]
        bent = x * np.array([0.5 * (1 + math.erf(v * 0.5**0.5)) for v in x.tolist()], np.float32)  # GELU
        return both + small["generator1"] @ bent + small["generator1_bias"]

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        if not len(history) and (user < 0 or not self.serves_nothing):
            return self.popularity.copy()  # nothing at all is known of them
        own, offset = self.own(history, user)
        out = self.items.dot(own)
        if not self.settings["ratings"]:
            return out
        return np.float32(self.settings["mean"]) + np.float32(self.settings["spread"]) * (out + self.small["bias"] + offset)

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self.items, self._lengths, item)

    def vector(self, history: History) -> np.ndarray:
        own, offset = self.own(history)
        if not self.settings["ratings"]:
            return own
        mean, spread = np.float32(self.settings["mean"]), np.float32(self.settings["spread"])
        return np.concatenate([spread * own, [spread, mean + spread * offset]]).astype(np.float32)

    @cached_property
    def item_matrix(self) -> Matrix:
        if not self.settings["ratings"]:
            return self.items
        bias = self.small["bias"]
        return Dense(np.column_stack([self.items.take(slice(None)), bias, np.ones_like(bias)]))

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self.items.take(slice(None)), axis=1)
