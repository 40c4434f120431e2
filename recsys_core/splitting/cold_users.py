"""Cold users: some users are kept out of training altogether and judged from part of their history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from .. import params
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..params import param
from ._base import Split, Splitter
from ._pairs import Pairs, common_notes, stay_note


class ColdUsers(Splitter):
    """Strong generalisation: models meet the test users for the first time, with a part of their items given.

    Source: Liang, Krishnan, Hoffman and Jebara, Variational autoencoders for collaborative filtering, 2018,
    section 4, https://arxiv.org/abs/1802.05814. Cost: one sort of the interactions.
    """

    key = "cold_users"
    label = "New users"
    summary = "Keeps some users out of training and shows the model part of their history: does it serve people it has never met?"

    class Params(params.Params):
        users_share: float = param(
            0.1, label="Share of users", help="Share of the users that is kept out of training.", gt=0, le=0.5, tune=(0.05, 0.5, "linear")
        )
        n_users: int | None = param(
            None, label="Number of users", help="Keep out this many users instead of a share (never more than half).", ge=1, advanced=True
        )
        given_share: float = param(
            0.8, label="History given", help="Share of a new user's items the model may see; the others must be guessed.", gt=0, lt=1
        )
        given_first: Literal["random", "earliest"] = param(
            "random",
            label="Which part is given",
            help="random: any items. earliest: the oldest ones, so that the latest must be guessed.",
            advanced=True,
        )
        min_interactions: int = param(
            5,
            label="Smallest history",
            help="Only users with at least this many different items are kept out.",
            ge=2,
            le=1000,
            advanced=True,
        )

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        pairs = Pairs.of(data)
        eligible = np.flatnonzero(pairs.counts >= self.params.min_interactions)
        n_active = int((pairs.counts > 0).sum())
        wanted = self.params.n_users or max(1, round(self.params.users_share * n_active))
        chosen = rng.permutation(eligible)[: min(wanted, n_active // 2)]
        notes = [f"{len(chosen):,} users are kept out of training."]
        if len(chosen) < wanted:
            notes.append(f"{wanted:,} were asked for: only users with {self.params.min_interactions} items count, and half must stay.")
        notes += stay_note(n_active - len(eligible), f"fewer than {self.params.min_interactions} different items")
        by = rng.random(len(pairs.user))
        if self.params.given_first == "earliest":
            by = pairs.last
            notes += [] if data.time is not None else ["The data has no times: 'earliest' means first in the file."]
        given = np.clip(np.round(pairs.counts * self.params.given_share), 1, np.maximum(pairs.counts - 1, 1))
        cold = np.zeros(data.n_users, dtype=bool)
        cold[chosen] = True
        shown = (pairs.rank(by) < given[pairs.user])[pairs.of_row]
        cold_row = cold[data.user]
        train = data.subset(~cold_row)
        test = Holdout(data.subset(cold_row & ~shown), data.subset(cold_row & shown))
        yield Split(train, test, 0, (*notes, *common_notes(train, test)), parts={"new_users": test})

    def describe(self) -> str:
        p = self.params
        who = f"{p.n_users:,} users" if p.n_users else f"{p.users_share:.0%} of the users"
        part = "a random" if p.given_first == "random" else "the earliest"
        return (
            f"{who} with at least {p.min_interactions} items are kept out of training; "
            f"the model sees {part} {p.given_share:.0%} of their items and must guess the rest."
        )
