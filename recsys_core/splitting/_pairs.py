"""What the rules share: work on distinct (user, item) pairs, so that a pair is never on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ._base import Split

UNREACHABLE = (
    "{items} of the catalogue's items appear in the test part only ({rows} test interactions): "
    "no collaborative model can reach them, they still count as relevant."
)


@dataclass(frozen=True)
class Pairs:
    """The distinct (user, item) pairs of a dataset, ordered by user, then item.

    of_row: int64 (n,) pair number of every interaction. user: int32 (P,). relevant: bool (P,), whether any
    of its interactions is. last: int64 (P,), position of its latest interaction (by time, else file order).
    """

    of_row: np.ndarray
    user: np.ndarray
    relevant: np.ndarray
    last: np.ndarray
    counts: np.ndarray  # (U,) pairs of every user

    @classmethod
    def of(cls, data: Dataset) -> Pairs:
        """Merge repeats: a pair counts as relevant when one of its interactions does."""
        keys, of_row = np.unique(data.user.astype(np.int64) * data.n_items + data.item, return_inverse=True)
        user = (keys // max(1, data.n_items)).astype(np.int32)
        relevant = np.zeros(len(keys), dtype=bool)
        relevant[of_row[data.relevant]] = True
        order = np.argsort(data.time, kind="stable") if data.time is not None else np.arange(len(data))
        last = np.zeros(len(keys), dtype=np.int64)
        last[of_row[order]] = np.arange(len(data))  # later positions overwrite earlier ones
        return cls(of_row, user, relevant, last, np.bincount(user, minlength=data.n_users))

    def rank(self, by: np.ndarray) -> np.ndarray:
        """int64 (P,): place of every pair within its user, 0 first, in rising order of `by` (P,)."""
        order = np.lexsort((by, self.user))
        starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        out = np.empty(len(self.user), dtype=np.int64)
        out[order] = np.arange(len(self.user)) - starts[self.user[order]]
        return out


def make_split(data: Dataset, in_test: np.ndarray, *, fold: int = 0, notes: Iterable[str] = ()) -> Split:
    """A Split from a bool (n,) mask over the interactions, with the notes every rule owes."""
    train, test = data.subset(~in_test), Holdout(data.subset(in_test))
    return Split(train, test, fold, (*notes, *common_notes(train, test)))


def common_notes(train: Dataset, test: Holdout) -> list[str]:
    """Counts of users without a relevant held-out interaction and of items no training interaction reaches."""
    notes = []
    held_out = np.unique(test.truth.user)
    unserved = len(held_out) - len(test.users)
    if unserved:
        notes.append(f"{unserved:,} {users(unserved)} with held-out interactions, none of them relevant: not evaluated.")
    in_train = np.bincount(train.item, minlength=train.n_items) > 0
    lost = ~in_train[test.truth.item]
    if lost.any():
        items = len(np.unique(test.truth.item[lost]))
        notes.append(UNREACHABLE.format(items=f"{items:,}", rows=f"{int(lost.sum()):,}"))
    return notes


def stay_note(n: int, why: str) -> list[str]:
    """The note for users whose whole history stays in training; none for n = 0."""
    return [f"{n:,} {users(n)} {'stays' if n == 1 else 'stay'} entirely in training: {why}."] if n else []


def users(n: int) -> str:
    return "user" if n == 1 else "users"
