"""What the rules that keep items out of training share: which items, which warm interactions are held out beside them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..context import RunContext
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ._base import Split, Splitter
from ._pairs import Pairs, users

NO_HISTORY = "new items of users without a training interaction"
VALIDATION_SHARE = 0.1  # of each user's items, for models that are validated on known items
WARM_FROM = 5  # users with fewer known items left keep all of them in training


@dataclass(frozen=True)
class NewItems:
    """chosen: bool (I,), kept out of training. known: bool (I,), the others that somebody has chosen; an item of the table alone is
    neither. notes: sentences for the protocol card."""

    chosen: np.ndarray
    known: np.ndarray
    notes: tuple[str, ...]

    @classmethod
    def choose(
        cls, data: Dataset, rng: np.random.Generator, *, share: float, n: int | None, least: int, which: str, per_item: np.ndarray
    ) -> NewItems:
        """A share (or n) of the items that have any interaction, among those with at least `least`; never more than half.

        per_item: (I,) distinct users of every item. which: "random", or "newest" by first interaction."""
        n_active = int((per_item > 0).sum())
        eligible = rng.permutation(np.flatnonzero(per_item >= least))  # shuffled first, so that equal first times go by chance
        wanted = n or max(1, round(share * n_active))
        if which == "newest":
            first = np.full(data.n_items, np.iinfo(np.int64).max)
            np.minimum.at(first, data.item, data.time if data.time is not None else np.arange(len(data)))
            eligible = eligible[np.argsort(-first[eligible], kind="stable")]
        taken = eligible[: min(wanted, n_active // 2)]
        chosen = np.zeros(data.n_items, dtype=bool)
        chosen[taken] = True
        notes = [f"{len(taken):,} of {n_active:,} items are kept out of training altogether."]
        if len(taken) < wanted:
            notes.append(f"{wanted:,} were asked for: only items with at least {least} interactions count, and half must stay.")
        if which == "newest" and data.time is None:
            notes.append("The data has no times: 'newest' means last to appear in the file.")
        return cls(chosen, ~chosen & (per_item > 0), tuple(notes))

    def candidates(self, rule: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        """(for lists of new items, for lists of known items): item codes, or None where all items compete."""
        if rule == "all":
            return None, None
        return np.flatnonzero(self.chosen).astype(np.int32), np.flatnonzero(self.known).astype(np.int32)


class NewItemsRule(Splitter):
    """A rule that keeps items out of training. A subclass writes `_cut`."""

    def validation(self, train: Dataset, ctx: RunContext) -> tuple[Dataset, Holdout]:
        """New items (and users) of its own, among those that training has; no known items are held out for it."""
        first = self._cut(train, ctx.rng(f"validation/{self.key}"), 0.0)
        return first.train, first.test

    def validation_for(self, train: Dataset, ctx: RunContext, *, reads_features: bool) -> tuple[Dataset, Holdout]:
        """Known items, for a model that reads no features: to stop by how it orders new items, at chance, would be to stop by chance."""
        if reads_features:
            return self.validation(train, ctx)
        pairs = Pairs.of(train)
        held = warm_rows(train, pairs, np.ones(len(pairs.user), dtype=bool), VALIDATION_SHARE, ctx.rng(f"validation/{self.key}/known"))
        return train.subset(~held), Holdout(train.subset(held))

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        yield self._cut(data, rng, self.params.warm_share)

    @abstractmethod
    def _cut(self, data: Dataset, rng: np.random.Generator, warm_share: float) -> Split:
        """The one split; warm_share: of known users' known items that is held out beside."""


def warm_rows(data: Dataset, pairs: Pairs, rest: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """bool (n,): a random share of every user's remaining pairs, of users with `WARM_FROM` or more.

    rest: bool (P,) pairs that would all be trained on. An item never loses its last training pair, so that its users are not
    asked for something that became new by accident."""
    left = np.bincount(pairs.user[rest], minlength=data.n_users)
    by = np.where(rest, rng.random(len(pairs.user)), 2.0)  # pairs that are not there come last
    many = np.where(left >= WARM_FROM, np.clip(np.round(left * share), 1, None), 0) if share > 0 else np.zeros(data.n_users)
    held = rest & (pairs.rank(by) < many[pairs.user])
    item = pair_items(data, pairs)
    trained = np.bincount(item[rest & ~held], minlength=data.n_items) > 0
    return (held & trained[item])[pairs.of_row]


def pair_items(data: Dataset, pairs: Pairs) -> np.ndarray:
    """int32 (P,): the item of every pair."""
    item = np.empty(len(pairs.user), dtype=np.int32)
    item[pairs.of_row] = data.item
    return item


def per_item(data: Dataset, pairs: Pairs) -> np.ndarray:
    """(I,) distinct users of every item."""
    return np.bincount(pair_items(data, pairs), minlength=data.n_items)


def unjudged_notes(holdouts: dict[str, Holdout], names: dict[str, str]) -> list[str]:
    """How many users of each part have held-out interactions, none of them relevant."""
    notes = []
    for key, holdout in holdouts.items():
        lost = len(np.unique(holdout.truth.user)) - len(holdout.users)
        if lost:
            notes.append(f"{names[key]}: {lost:,} {users(lost)} with held-out interactions, none of them relevant: not evaluated.")
    return notes


def which_text(which: str, least: int) -> str:
    return f"{'the newest' if which == 'newest' else 'at random,'} of those with at least {least} users"


def candidates_text(rule: str) -> str:
    return "lists are made of the new items only" if rule == "new" else "all items compete for a place in the lists"


def amount_text(n: int | None, share: float, noun: str) -> str:
    return f"{n:,} {noun}" if n else f"{share:.0%} of the {noun}"


def judged(holdouts: dict[str, Holdout], skipped: dict[str, int]) -> tuple[dict[str, Holdout], dict[str, int]]:
    """(parts somebody can be judged on, skipped with the interactions of the others)."""
    nobody = sum(len(holdout.truth) for holdout in holdouts.values() if not len(holdout.users))
    parts = {key: holdout for key, holdout in holdouts.items() if len(holdout.users)}
    return parts, skipped | ({"in parts where no user has a relevant one": nobody} if nobody else {})
