"""Taking in what happened since a model was trained, without training it again."""

from __future__ import annotations

import copy
from typing import ClassVar, Self

import numpy as np

from ..context import QUIET, RunContext
from ..data.dataset import Dataset
from ..errors import Unsupported


class Updating:
    """The part of a recommender that keeps it up to date. A model whose lists come from histories alone needs nothing; one that
    keeps something of users or counts of items writes `_update`."""

    label: str
    train: Dataset | None
    notes: list[str]
    fitted: Dataset
    takes_new_items: ClassVar[bool] = False  # `_update` places items that were not there in training

    def updated(self, data: Dataset, ctx: RunContext = QUIET) -> Self:
        """A copy that knows `data`: the training interactions and what came since. This one stays as it is.

        data: on id maps that begin with those of training; users may follow, and items where `takes_new_items`.
        Raises Unsupported where the model cannot, or where ids do not fit.
        """
        before = self.fitted
        if not self.can_update():
            raise Unsupported(
                f"{self.label} learns something of every user in training and cannot take in what came since.", "Train it again."
            )
        if not _begins_with(data, before):
            raise Unsupported("The ids of an update must begin with those of training, in the same order.", "Extend the id maps.")
        if data.n_items > before.n_items and not self.takes_new_items:
            new = data.n_items - before.n_items
            raise Unsupported(f"{self.label} has no place for {new:,} items it was not trained on.", "Leave them out, or train it again.")
        other = copy.copy(self)
        other.train, other.notes = data, list(self.notes)
        other._update(before, ctx)
        return other

    @classmethod
    def can_update(cls) -> bool:
        """Whether a fitted model of this kind can take in more: by a rule of its own, or because it reads histories alone."""
        from ._base import Recommender

        return cls._update is not Updating._update or cls._scores is Recommender._scores

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        """Optional: bring what was learnt from `before` up to `self.fitted`. Do not write into arrays that were there: the model this
        one was copied from still uses them. Default: histories are new, all else stays."""


def changed_users(before: Dataset, after: Dataset) -> np.ndarray:
    """Codes of the users whose interactions are others now, or of other values; new ones included."""
    return _changed(before, after)[0]


def changed_items(before: Dataset, after: Dataset) -> np.ndarray:
    """Codes of the items whose interactions are others now, or of other values; new ones included."""
    return _changed(before, after)[1]


def _changed(before: Dataset, after: Dataset) -> tuple[np.ndarray, np.ndarray]:
    found = []
    for kind in ("value", "seen"):  # a weight of 0 is seen too
        now, then = after.matrix(kind), before.matrix(kind).copy()
        then.resize(now.shape)
        found.append((now != then).nonzero())
    users, items = (np.unique(np.concatenate(side)) for side in zip(*found, strict=True))
    return users, items


def grown(rows: np.ndarray, n: int) -> np.ndarray:
    """A copy with rows of zeros up to n."""
    return np.vstack([rows, np.zeros((n - len(rows), rows.shape[1]), rows.dtype)]) if n > len(rows) else rows.copy()


def _begins_with(data: Dataset, before: Dataset) -> bool:
    sides = ((data.users, before.users), (data.items, before.items))
    return all(len(now) >= len(then) and np.array_equal(now.ids[: len(then)], then.ids) for now, then in sides)
