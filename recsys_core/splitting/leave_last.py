"""Leave last out: the latest relevant items of every user are held out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import params
from ..data.dataset import Dataset
from ..params import param
from ._base import Split, Splitter
from ._pairs import Pairs, make_split, stay_note


class LeaveLast(Splitter):
    """The n last relevant items of every user, and whatever the user did after the first of them.

    So no user's training part holds anything later than that user's test part. An item a user came back to
    counts at its latest time and goes to the test part as a whole. At least one relevant item stays in
    training. Cost: two sorts of the interactions.
    """

    key = "leave_last"
    label = "Leave last out"
    summary = "Holds out the most recent items of every user: can the model tell what comes next? Use it when there are times."
    seeded = False

    class Params(params.Params):
        n: int = param(1, label="Items held out", help="How many of every user's most recent relevant items are held out.", ge=1, le=1000)

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        pairs = Pairs.of(data)
        relevant = np.bincount(pairs.user[pairs.relevant], minlength=data.n_users)
        held_out = np.minimum(self.params.n, np.maximum(relevant - 1, 0))
        # later: how many relevant pairs of the same user come at or after this one.
        order = np.lexsort((-pairs.last, pairs.user))
        running = np.cumsum(pairs.relevant[order])
        before = np.concatenate([[0], np.cumsum(relevant)[:-1]])[pairs.user]
        later = np.empty(len(order), dtype=np.int64)
        later[order] = running
        later -= before
        # What is not relevant goes with the cut: to the test part when it is later than the first item held out.
        in_test = np.where(pairs.relevant, later, later + 1) <= held_out[pairs.user]
        notes = [] if data.time is not None else ["The data has no times: 'last' means last in the file."]
        stay = int(((pairs.counts > 0) & (held_out == 0)).sum())
        yield make_split(data, in_test[pairs.of_row], notes=[*notes, *stay_note(stay, "fewer than two relevant items")])

    def describe(self) -> str:
        n = self.params.n
        what = "relevant item of every user is" if n == 1 else f"{n} relevant items of every user are"
        return f"The last {what} held out, and anything the user did after."
