"""Random per user: a share of every user's items is held out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import params
from ..data.dataset import Dataset
from ..params import param
from ._base import Split, Splitter
from ._pairs import Pairs, make_split, stay_note


class RandomPerUser(Splitter):
    """A random share of the distinct items of every user. Cost: one sort of the interactions."""

    key = "random"
    label = "Random per user"
    summary = "Holds out a random share of every user's items. Use it when there are no times, or to compare with published figures."

    class Params(params.Params):
        test_share: float = param(
            0.2,
            label="Test share",
            help="Share of every user's items that is held out for testing.",
            gt=0,
            lt=1,
            tune=(0.05, 0.5, "linear"),
        )
        min_interactions: int = param(
            2,
            label="Smallest history",
            help="Users with fewer different items than this stay in training and are not tested.",
            ge=2,
            le=1000,
            advanced=True,
        )

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        pairs = Pairs.of(data)
        held_out = np.clip(np.round(pairs.counts * self.params.test_share), 1, np.maximum(pairs.counts - 1, 1)).astype(np.int64)
        held_out[pairs.counts < self.params.min_interactions] = 0
        in_test = pairs.rank(rng.random(len(pairs.user))) < held_out[pairs.user]
        stay = int(((pairs.counts > 0) & (held_out == 0)).sum())
        yield make_split(data, in_test[pairs.of_row], notes=stay_note(stay, f"fewer than {self.params.min_interactions} different items"))

    def describe(self) -> str:
        return (
            f"A random {self.params.test_share:.0%} of every user's items (at least one) is held out; "
            f"users with fewer than {self.params.min_interactions} different items stay in training."
        )
