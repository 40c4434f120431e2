"""k-fold: every user's items are dealt into folds; each fold is the test part once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import params
from ..data.dataset import Dataset
from ..params import param
from ._base import Split, Splitter
from ._pairs import Pairs, make_split, stay_note


class KFold(Splitter):
    """Folds within users. A user with fewer items than folds is tested in as many folds as there are items.

    Cost: one sort of the interactions, then one pass a fold; as many trainings as folds.
    """

    key = "kfold"
    label = "k-fold"
    summary = "Deals every user's items into folds and tests on each in turn: the surest figures, at the price of training several times."

    class Params(params.Params):
        folds: int = param(5, label="Folds", help="How many parts; each model is trained once for each.", ge=2, le=20)

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        pairs = Pairs.of(data)
        # Each user starts dealing at a fold of its own, so that short histories do not all land in fold 0.
        start = rng.integers(0, self.params.folds, data.n_users)
        fold_of = (pairs.rank(rng.random(len(pairs.user))) + start[pairs.user]) % self.params.folds
        fold_of[pairs.counts[pairs.user] < 2] = -1
        notes = stay_note(int((pairs.counts == 1).sum()), "one item only")
        for fold in range(self.params.folds):
            yield make_split(data, (fold_of == fold)[pairs.of_row], fold=fold, notes=notes)

    def describe(self) -> str:
        return f"Every user's items are dealt at random into {self.params.folds} folds; each fold is held out once."
