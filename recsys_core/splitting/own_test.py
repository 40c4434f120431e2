"""Your own test file: the test part comes from outside, only validation is cut here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from .. import params
from ..context import RunContext
from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..data.ids import IdMap, as_text
from ..errors import DataError, Unsupported
from ..params import param
from ._base import Split, Splitter
from ._pairs import common_notes, users

SKIP_TRAINED = "test interactions whose user already had the item in training"


class OwnTest(Splitter):
    """The rule for `own_test`: it holds how validation is cut from the training file."""

    key = "own_test"
    label = "I bring my own test file"
    summary = "Uses two files: one to train on, one to test on. For comparing with figures others reached on the same pair."
    needs_test_file = True
    seeded = False

    class Params(params.Params):
        validation: Literal["random", "leave_last", "global_time"] = param(
            "random",
            label="Validation is cut",
            help="How the part for early stopping and fusion weights is cut from the training file: at random, the last items, or by time.",
        )
        validation_share: float = param(
            0.2,
            label="Validation share",
            help="Share of the training file used for it (the last item of each user with 'leave_last').",
            gt=0,
            lt=1,
        )
        test: str = param(
            "",
            label="Test file",
            help="In the app: the test file saved beside the dataset. On the command line it is given with --test instead.",
            advanced=True,
        )

    def splits(self, data: Dataset, ctx: RunContext) -> Iterator[Split]:
        raise Unsupported(f"'{self.label}' needs a second file with the test interactions.", "Give it, or choose another split.")

    def _splits(self, data: Dataset, rng: np.random.Generator) -> Iterator[Split]:
        raise Unsupported(f"'{self.label}' cannot cut a dataset by itself.", "Give a test file.")

    def validation(self, train: Dataset, ctx: RunContext) -> tuple[Dataset, Holdout]:
        """Cut from the training file by the chosen rule; the test file is not looked at."""
        from .. import registry

        values = {"n": 1} if self.params.validation == "leave_last" else {"test_share": self.params.validation_share}
        rule: Splitter = registry.get("splitter", self.params.validation)(**values)
        if rule.needs_time and train.time is None:
            raise Unsupported(f"Validation by '{rule.label}' needs a time column; the training file has none.", "Choose 'random'.")
        return rule.validation(train, ctx)

    def describe(self) -> str:
        rule = "the last item of every user" if self.params.validation == "leave_last" else f"{self.params.validation_share:.0%} of it"
        how = {"random": "at random per user", "leave_last": "in file or time order", "global_time": "the latest"}[self.params.validation]
        return f"Training and test are two files as given; validation is cut from the training file only: {rule}, {how}."


def own_test(train: Dataset, test: Dataset | pd.DataFrame) -> Split:
    """A Split of two files.

    test: a Dataset, or a frame with columns user, item[, value][, time]. Relevance follows training's
    threshold. Users and items the training file lacks get codes after the known ones, in both parts:
    such users have no history (models give them the most popular items), such items cannot be reached but
    count as relevant. A test pair that is also in training is left out. Codes of `train` do not change.
    """
    users_in, items_in, value, time = _columns(test, train.threshold)
    user_ids, item_ids = _extended(train.users, users_in), _extended(train.items, items_in)
    base = replace(
        train,
        users=user_ids,
        items=item_ids,
        user_table=_extended_table(train.user_table, getattr(test, "user_table", None), train.users, test, "users", user_ids),
        item_table=_extended_table(train.item_table, getattr(test, "item_table", None), train.items, test, "items", item_ids),
    )
    user, item = user_ids.encode(users_in), item_ids.encode(items_in)
    keys = user.astype(np.int64) * len(item_ids) + item
    trained = np.isin(keys, base.user.astype(np.int64) * len(item_ids) + base.item)
    timed = time is not None and train.time is not None
    truth = replace(base, user=user, item=item, value=value, time=time if timed else None).subset(~trained)
    holdout = Holdout(truth)
    notes, skipped = [], {}
    if trained.any():
        skipped[SKIP_TRAINED] = int(trained.sum())
        notes.append(f"{trained.sum():,} test interactions are also in the training file (same user and item): left out of the test.")
    if isinstance(test, pd.DataFrame) and "value" not in test and train.feedback == "explicit":
        notes.append("The test file has no ratings: each of its rows counts as relevant, rating errors mean nothing.")
    new_users = len(user_ids) - len(train.users)
    if new_users:
        notes.append(f"{new_users:,} test {users(new_users)} not in the training file: every model gives them the most popular items.")
    if len(holdout.users) == 0:
        raise DataError(
            f"The test file leaves no user to test: of its {len(user):,} interactions {trained.sum():,} are already in the training file.",
            "Check that the two files differ and that the threshold for a relevant rating is not above every test rating.",
        )
    if not np.isin(np.unique(item), np.unique(base.item)).any():
        raise DataError("The training and the test file have no item in common.", "Check that both use the same item ids.")
    return Split(base, holdout, 0, (*notes, *common_notes(base, holdout)), skipped)


def _columns(test: Dataset | pd.DataFrame, threshold: float | None) -> tuple[pd.Series, pd.Series, np.ndarray, np.ndarray | None]:
    """(user ids, item ids, value, time) of either form; without values every row is relevant."""
    if isinstance(test, Dataset):
        return pd.Series(test.users.decode(test.user)), pd.Series(test.items.decode(test.item)), test.value, test.time
    missing = [name for name in ("user", "item") if name not in test.columns]
    if missing:
        raise DataError(f"The test file needs the columns user and item; it has no {' and no '.join(missing)}.", "Rename the columns.")
    value = test["value"].to_numpy(np.float32) if "value" in test else np.full(len(test), 1 if threshold is None else threshold, np.float32)
    return as_text(test["user"]), as_text(test["item"]), value, test["time"].to_numpy(np.int64) if "time" in test else None


def _extended(ids: IdMap, seen: pd.Series) -> IdMap:
    """The id map with unknown ids appended in sorted order; the same map when there are none."""
    unknown = np.sort(np.asarray(pd.Series(seen.unique())[ids.encode(seen.unique()) < 0], dtype=object))
    return IdMap(np.concatenate([np.asarray(ids.ids, dtype=object), unknown])) if len(unknown) else ids


def _extended_table(
    table: pd.DataFrame | None, other: pd.DataFrame | None, known: IdMap, test: Dataset | pd.DataFrame, side: str, ids: IdMap
) -> pd.DataFrame | None:
    """The table with a row for every appended id: from the test file's own table where it has one, else empty."""
    if table is None or len(ids) == len(known):
        return table
    out = table.reset_index(drop=True).reindex(range(len(ids)))
    if other is not None:
        rows = getattr(test, side).encode(ids.decode(np.arange(len(known), len(ids))))
        found = np.flatnonzero(rows >= 0)
        shared = [column for column in table.columns if column in other.columns]
        appended = other[shared].iloc[rows[found]].set_axis(len(known) + found)
        out = out.astype({c: object for c in shared if out[c].dtype != other[c].dtype}).copy()
        out.loc[appended.index, shared] = appended
    return out
