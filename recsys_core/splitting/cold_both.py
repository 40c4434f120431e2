"""New users and items: some of both are kept out; who serves known and new users with known and new items?"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .. import params
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..params import param
from ._base import PARTS, Split
from ._new_items import (
    NO_HISTORY,
    NewItems,
    NewItemsRule,
    candidates_text,
    judged,
    pair_items,
    per_item,
    unjudged_notes,
    warm_rows,
    which_text,
)
from ._pairs import Pairs, users


class ColdBoth(NewItemsRule):
    """Four quarters: known or new users × known or new items, each measured apart; the headline is new users × new items.

    A new user comes with a share of the known items of the history; a new item is never given. Source: Schein et al., Methods
    and metrics for cold-start recommendations, 2002; the four quarters as in Park and Chu, Pairwise preference regression for
    cold-start recommendation, 2009, section 4. Differs: whole rankings, and histories of new users are given in part.
    Cost: one sort of the interactions.
    """

    key = "cold_both"
    label = "New users and items"
    summary = "Keeps some users and some items out of training: who serves the new ones, and at what cost for the known ones?"

    class Params(params.Params):
        users_share: float = param(0.1, label="Share of users", help="Share of the users that is kept out of training.", gt=0, le=0.5)
        items_share: float = param(0.2, label="Share of items", help="Share of the items that is kept out of training.", gt=0, le=0.5)
        candidates: Literal["new", "all"] = param(
            "new",
            label="Lists are made of",
            help="new: lists for new items hold new items only. all: new and known items compete, as in everyday use.",
        )
        which: Literal["random", "newest"] = param(
            "random",
            label="Which items",
            help="random: any items. newest: those whose first interaction is the latest.",
        )
        given_share: float = param(
            0.8, label="History given", help="Share of a new user's known items the model may see; the others must be guessed.", gt=0, lt=1
        )
        min_history: int = param(
            5,
            label="Smallest history",
            help="Only users with at least this many items are kept out.",
            ge=2,
            le=1000,
            advanced=True,
        )
        min_interactions: int = param(
            5,
            label="Smallest audience",
            help="Only items with at least this many users are kept out.",
            ge=1,
            le=100_000,
            advanced=True,
        )
        warm_share: float = param(
            0.1,
            label="Known items held out",
            help="Share of each known user's known items that is held out as well, to measure them apart. 0: none.",
            ge=0,
            le=0.5,
            advanced=True,
        )

    def _cut(self, data: Dataset, rng: np.random.Generator, warm_share: float) -> Split:
        p, pairs = self.params, Pairs.of(data)
        new = NewItems.choose(
            data, rng, share=p.items_share, n=None, least=p.min_interactions, which=p.which, per_item=per_item(data, pairs)
        )
        stranger, notes = self._new_users(data, pairs, rng)
        notes = [*new.notes, *notes]
        of_new = new.chosen[pair_items(data, pairs)]
        # Of a new user's known items, the first in a random order are given; with only one, it is given.
        sizes = np.bincount(pairs.user[~of_new], minlength=data.n_users)
        give = np.clip(np.round(sizes * p.given_share), 1, np.maximum(sizes - 1, 1))
        place = pairs.rank(np.where(of_new, 2.0, rng.random(len(pairs.user))))
        shown = (~of_new & stranger[pairs.user] & (place < give[pairs.user]))[pairs.of_row]
        warm = warm_rows(data, pairs, ~of_new & ~stranger[pairs.user], warm_share, rng)
        new_row, new_user = new.chosen[data.item], stranger[data.user]
        train_row = ~new_row & ~new_user & ~warm
        known = np.bincount(data.user[train_row], minlength=data.n_users) > 0
        lost = new_row & ~new_user & ~known[data.user]
        given, (for_new, for_known) = data.subset(shown), new.candidates(p.candidates)
        parts = {
            "warm": Holdout(data.subset(warm), candidates=for_known),
            "new_items": Holdout(data.subset(new_row & ~new_user & ~lost), candidates=for_new),
            "new_users": Holdout(data.subset(~new_row & new_user & ~shown), given, for_known),
            "new_both": Holdout(data.subset(new_row & new_user), given, for_new),
        }
        if lost.any():
            n = len(np.unique(data.user[lost]))
            notes.append(f"{n:,} {users(n)} chose new items only and {'has' if n == 1 else 'have'} no training interaction: not evaluated.")
        bare = len(np.setdiff1d(parts["new_both"].users, given.user))
        if bare:
            notes.append(f"{bare:,} new {users(bare)} chose new items only: nothing of the history can be given.")
        notes += unjudged_notes(parts, PARTS)
        kept, skipped = judged(parts, {NO_HISTORY: int(lost.sum())} if lost.any() else {})
        return Split(data.subset(train_row), parts["new_both"], 0, tuple(notes), skipped, kept)

    def _new_users(self, data: Dataset, pairs: Pairs, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
        """(bool (U,): kept out, notes)."""
        p, n_active = self.params, int((pairs.counts > 0).sum())
        eligible, wanted = np.flatnonzero(pairs.counts >= p.min_history), max(1, round(p.users_share * n_active))
        chosen = rng.permutation(eligible)[: min(wanted, n_active // 2)]
        stranger = np.zeros(data.n_users, dtype=bool)
        stranger[chosen] = True
        notes = [f"{len(chosen):,} of {n_active:,} users are kept out of training."]
        if len(chosen) < wanted:
            notes.append(f"{wanted:,} were asked for: only users with {p.min_history} items count, and half must stay.")
        return stranger, notes

    def describe(self) -> str:
        p = self.params
        warm = f" {p.warm_share:.0%} of the known users' known items are held out too." if p.warm_share else ""
        items = which_text(p.which, p.min_interactions)
        return (
            f"{p.users_share:.0%} of the users and {p.items_share:.0%} of the items ({items}) are kept out of training; "
            f"a new user shows {p.given_share:.0%} of the known items; {candidates_text(p.candidates)}.{warm} "
            "The headline is new users with new items; the other three kinds are measured apart."
        )
