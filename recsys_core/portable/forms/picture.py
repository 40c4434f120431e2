"""The last few items as a picture beside a lasting taste, learnt or found in a few steps from a history."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ._base import Stored
from ._sequence import LastItems

SETTLED = (0.9, 0.999, 1e-8)  # Adam's


class Picture(LastItems):
    """score_j = output_j · picture + taste_j · user + bias_j.

    As `LastItems`, which gives the picture, and: settings: learnt_from, places, steps, rate: how the taste of somebody new is found: from
    the mean of those of their items, by `steps` steps of Adam on what followed each of their latest `places` places, compared with the
    items `drawn`. Matrices: taste (I, d); start (I, d), the mean taste of the users of an item; users (U, d) with learnt bool (U,), which
    of them were learnt; drawn int64 (N,). Networks: encoder, which takes many pictures at once.
    """

    key = "picture"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.taste, self.start, self.drawn = stored.matrix("taste"), stored.matrix("start"), stored.array("drawn")
        self.users = stored.matrix("users") if stored.has("users") else None
        self.learnt = stored.array("learnt") if stored.has("learnt") else np.zeros(0, bool)

    def user_vector(self, history: History, user: int = -1) -> np.ndarray:
        """float32 (d,)."""
        learnt = self.users is not None and 0 <= user < len(self.learnt) and self.learnt[user]
        return self.users.take(np.array([user]))[0] if learnt else self._found(history)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        return self.output.dot(self.state(history)) + self.taste.dot(self.user_vector(history, user)) + self.bias

    def similar(self, item: int) -> np.ndarray:
        at = np.array([item])
        found = self.output.dot(self.output.take(at)[0]) + self.taste.dot(self.taste.take(at)[0])
        of_both = self._both_lengths * self._both_lengths[item]
        return (found / np.where(of_both > 0, of_both, 1)).astype(np.float32)

    def vector(self, history: History) -> np.ndarray:
        return np.concatenate([self.state(history), self.user_vector(history), np.ones(1, np.float32)])

    @cached_property
    def item_matrix(self) -> Matrix:
        return Dense(np.column_stack([self.output.take(slice(None)), self.taste.take(slice(None)), self.bias]))

    @cached_property
    def _both_lengths(self) -> np.ndarray:
        return np.sqrt(self._lengths**2 + np.square(self.taste.take(slice(None))).sum(1))

    @cached_property
    def _drawn_vectors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(own (N, d), taste (N, d), shift (N,)) of the items compared with; the shift makes their sum an estimate of that over all."""
        share = np.float32(np.log(len(self.drawn) / self.n_items))
        return self.output.take(self.drawn), self.taste.take(self.drawn), self.bias[self.drawn] - share

    def _found(self, history: History) -> np.ndarray:
        kept = history.relevant(self.settings.get("threshold"))
        codes, _ = kept.row(binary=True)
        vector = self.start.weighted_sum(codes, np.full(len(codes), 1 / max(1, len(codes)), np.float32))
        items = kept.last(self.settings["places"] + self.settings["max_len"]).items.astype(np.int64)
        n = min(len(items) - 1, self.settings["places"])
        if n < 1 or not self.settings["steps"]:
            return vector
        length = self.settings["pad_to"]
        padded = np.concatenate([np.full(length, self.n_items), items])
        at = np.arange(len(items) - n, len(items))  # the places, each told from the `length` items before it
        pictures = self.encoder(read=self.items.take(padded[at[:, None] + np.arange(length)].ravel()).reshape(n, length, -1))[0]
        own, taste, shift = self._drawn_vectors
        target = items[at]
        against = pictures @ own.T + shift
        against[target[:, None] == self.drawn] = -np.inf
        positive = np.einsum("nd,nd->n", pictures, self.output.take(target)) + self.bias[target]
        return self._descend(vector, against, positive, taste, self.taste.take(target))

    def _descend(self, vector: np.ndarray, against: np.ndarray, positive: np.ndarray, taste: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Adam on the mean over places of log(1 + e^(L - p)), L the log-sum of what the target is compared with, p its own score."""
        first, second = np.zeros_like(vector), np.zeros_like(vector)
        decay, spread, least = SETTLED
        for step in range(1, self.settings["steps"] + 1):
            weights = against + taste @ vector
            top = weights.max(1, keepdims=True)
            np.exp(np.subtract(weights, top, out=weights), out=weights)
            total = weights.sum(1)
            margin = top[:, 0] + np.log(total) - positive - wanted @ vector
            pull = np.exp(-np.logaddexp(0, -margin)) / len(positive)  # (n,): how wrong each place is
            gradient = (pull / total) @ weights @ taste - pull @ wanted
            first = decay * first + (1 - decay) * gradient
            second = spread * second + (1 - spread) * gradient**2
            vector = vector - np.float32(self.settings["rate"]) * (first / (1 - decay**step)) / (
                np.sqrt(second / (1 - spread**step)) + least
            )
        return np.asarray(vector, np.float32)
