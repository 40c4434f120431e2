"""Held-out interactions a model is judged on: validation inside training, or the test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from .dataset import Dataset
from .histories import Histories


@dataclass(frozen=True)
class Holdout:
    """truth: what was held out. given: the part of the history of *cold* users (not in training) that
    the model may see; None when the users are in training and known by their code.

    candidates: item codes the lists are made of, or None for all (minus what a user already had). All share the id maps of
    the training set.
    """

    truth: Dataset
    given: Dataset | None = None
    candidates: np.ndarray | None = None

    @cached_property
    def users(self) -> np.ndarray:
        """int32 (B,): users with at least one relevant held-out interaction, in code order."""
        return np.flatnonzero(self.truth.user_counts).astype(np.int32)

    @cached_property
    def relevant(self) -> sparse.csr_matrix:
        """csr (B, I): 1 for every relevant held-out item; row b is users[b]."""
        return self.truth.matrix("binary")[self.users]

    @property
    def cold(self) -> bool:
        """Whether its users are unknown to training and come with a part of their history."""
        return self.given is not None

    @cached_property
    def histories(self) -> Histories | None:
        """The given histories of `users`, or None when they are known from training."""
        return None if self.given is None else self.given.histories(self.users)

    def comes_after(self, data: Dataset) -> bool:
        """Whether most of what is held out is no older than the newest item its user's history keeps; True without times.

        data: what was not held out."""
        known, truth = self.given or data, self.truth
        if known.time is None or truth.time is None or not len(truth):
            return True
        newest = np.full(known.n_users, np.iinfo(np.int64).min)
        np.maximum.at(newest, known.user, known.time)
        return bool((truth.time >= newest[truth.user]).mean() >= 0.5)

    def sample(self, n: int, rng: np.random.Generator) -> Holdout:
        """At most n of the users (for a cheap validation); the same object when there are fewer."""
        if len(self.users) <= n:
            return self
        chosen = np.zeros(self.truth.n_users, dtype=bool)
        chosen[rng.choice(self.users, n, replace=False)] = True
        return Holdout(self.truth.subset(chosen[self.truth.user]), self.given, self.candidates)
