"""New items: some items are kept out of training altogether; are they shown to those who want them?"""

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
    amount_text,
    candidates_text,
    judged,
    pair_items,
    per_item,
    unjudged_notes,
    warm_rows,
    which_text,
)
from ._pairs import Pairs, users


class ColdItems(NewItemsRule):
    """Item cold start: every interaction of the chosen items leaves training; their truth is what training users did with them.

    Source: Schein, Popescul, Ungar and Pennock, Methods and metrics for cold-start recommendations, 2002, section 5;
    Volkovs, Yu and Poutanen, DropoutNet, 2017, section 5. Differs: lists are made of the new items only unless `candidates`
    is "all", and a share of the known users' interactions with known items is held out too, to be measured apart.
    Cost: one sort of the interactions.
    """

    key = "cold_items"
    label = "New items"
    summary = "Keeps some items out of training altogether: does it find the right people for items nobody has touched yet?"

    class Params(params.Params):
        items_share: float = param(
            0.2, label="Share of items", help="Share of the items that is kept out of training.", gt=0, le=0.5, tune=(0.05, 0.5, "linear")
        )
        candidates: Literal["new", "all"] = param(
            "new",
            label="Lists are made of",
            help="new: the new items only, which tells how well they are ordered. all: new and known items compete, as in everyday use.",
        )
        which: Literal["random", "newest"] = param(
            "random",
            label="Which items",
            help="random: any items. newest: those whose first interaction is the latest.",
        )
        n_items: int | None = param(
            None, label="Number of items", help="Keep out this many items instead of a share (never more than half).", ge=1, advanced=True
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
            help="Share of each user's remaining items that is held out as well, to measure known items apart. 0: none.",
            ge=0,
            le=0.5,
            advanced=True,
        )

    def _cut(self, data: Dataset, rng: np.random.Generator, warm_share: float) -> Split:
        p, pairs = self.params, Pairs.of(data)
        new = NewItems.choose(
            data, rng, share=p.items_share, n=p.n_items, least=p.min_interactions, which=p.which, per_item=per_item(data, pairs)
        )
        new_row = new.chosen[data.item]
        warm = warm_rows(data, pairs, ~new.chosen[pair_items(data, pairs)], warm_share, rng)
        train_row = ~new_row & ~warm
        known = np.bincount(data.user[train_row], minlength=data.n_users) > 0
        lost = new_row & ~known[data.user]
        for_new, for_known = new.candidates(p.candidates)
        test = Holdout(data.subset(new_row & ~lost), candidates=for_new)
        parts = {"warm": Holdout(data.subset(warm), candidates=for_known), "new_items": test}
        notes = [*new.notes]
        if lost.any():
            n = len(np.unique(data.user[lost]))
            notes.append(f"{n:,} {users(n)} chose new items only and {'has' if n == 1 else 'have'} no training interaction: not evaluated.")
        notes += unjudged_notes(parts, PARTS)
        kept, skipped = judged(parts, {NO_HISTORY: int(lost.sum())} if lost.any() else {})
        return Split(data.subset(train_row), test, 0, tuple(notes), skipped, kept)

    def describe(self) -> str:
        p = self.params
        who = f"{amount_text(p.n_items, p.items_share, 'items')} ({which_text(p.which, p.min_interactions)})"
        warm = f" {p.warm_share:.0%} of each user's other items are held out too and measured apart." if p.warm_share else ""
        return f"{who} are kept out of training; {candidates_text(p.candidates)}.{warm}"
