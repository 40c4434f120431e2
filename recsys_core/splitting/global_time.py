"""Global time: everything from one moment on is held out, for all users at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Literal

import numpy as np
from pydantic import field_validator

from .. import params
from ..context import RunContext
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..params import param
from ._base import Split, Splitter
from ._pairs import Pairs, common_notes, users

SKIP_NEW = "interactions of users without a training history"
SKIP_REPEAT = "later repeats of a user's training items"


class GlobalTime(Splitter):
    """Train on what happened before the cut, test on what happened from it on. Cost: one sort."""

    key = "global_time"
    label = "Global time"
    summary = "Trains on everything before one moment and tests on everything after it, as in real use: nothing from the future is known."
    needs_time = True
    seeded = False

    class Params(params.Params):
        test_share: float = param(
            0.2,
            label="Test share",
            help="Share of all interactions, the latest ones, that is held out.",
            gt=0,
            lt=1,
            tune=(0.05, 0.5, "linear"),
        )
        date: str | None = param(
            None,
            label="Cut date",
            help="Cut at this day instead (YYYY-MM-DD, midnight UTC). Validation still uses the share.",
            advanced=True,
        )
        new_users: Literal["skip", "fallback"] = param(
            "skip",
            label="Users who appear only after the cut",
            help="skip: they are counted but not tested. fallback: they are tested too; every model gives them the most popular items.",
        )

        @field_validator("date")
        @classmethod
        def _is_date(cls, value: str | None) -> str | None:
            if value is not None:
                try:
                    date.fromisoformat(value)
                except ValueError:
                    raise ValueError(f"must be a day as YYYY-MM-DD; got {value!r}") from None
            return value

    def validation(self, train: Dataset, ctx: RunContext) -> tuple[Dataset, Holdout]:
        """By the share: a fixed date lies after all of training."""
        by_share = GlobalTime(self.params.with_(date=None))
        return super(GlobalTime, by_share).validation(train, ctx)

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        cut = self._cut(data)
        after = data.time >= cut
        pairs = Pairs.of(data)
        trained = np.zeros(len(pairs.user), dtype=bool)
        trained[pairs.of_row[~after]] = True
        repeat = after & trained[pairs.of_row]
        known = np.bincount(data.user[~after], minlength=data.n_users) > 0
        new = after & ~known[data.user]
        in_test = after & ~repeat
        notes = [f"The cut is at {datetime.fromtimestamp(cut, UTC):%Y-%m-%d %H:%M} UTC."]
        skipped: dict[str, int] = {}
        if repeat.any():
            skipped[SKIP_REPEAT] = int(repeat.sum())
            notes.append(f"{repeat.sum():,} interactions after the cut repeat an item of the user's training part: left out of the test.")
        if new.any():
            n_new = len(np.unique(data.user[new]))
            if self.params.new_users == "skip":
                in_test &= ~new
                skipped[SKIP_NEW] = int(new.sum())
                notes.append(f"{n_new:,} {users(n_new)} without training history ({new.sum():,} interactions after the cut): skipped.")
            else:
                notes.append(f"{n_new:,} test {users(n_new)} without training history: every model gives them the most popular items.")
        gone = int((known & ~(np.bincount(data.user[after], minlength=data.n_users) > 0)).sum())
        if gone:
            notes.append(f"{gone:,} {users(gone)} with nothing after the cut: in training only.")
        train, test = data.subset(~after), Holdout(data.subset(in_test))
        yield Split(train, test, 0, (*notes, *common_notes(train, test)), skipped)

    def _cut(self, data: Dataset) -> int:
        """First second of the test part."""
        if self.params.date is not None:
            return int(datetime.fromisoformat(self.params.date).replace(tzinfo=UTC).timestamp())
        at = min(int(np.ceil(len(data) * (1 - self.params.test_share))), len(data) - 1)
        return int(np.partition(data.time, at)[at]) if len(data) else 0

    def describe(self) -> str:
        where = f"from {self.params.date} on" if self.params.date else f"in the latest {self.params.test_share:.0%}"
        new = "not tested" if self.params.new_users == "skip" else "tested with the most popular items"
        return f"All interactions {where} are held out, for everybody at once; users new after the cut are {new}."
