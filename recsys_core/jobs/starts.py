"""Starting from the model of another result: which one is meant, and that it has not seen the users to be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import Dataset
from ..errors import NotFound, Unsupported

if TYPE_CHECKING:
    from ..store.entries import RunEntry
    from ..store.workspace import Workspace
    from .spec import TrainSpec

RUN, START = "run:", "start_from"
SAME = 0.2  # of the interactions alike beyond what chance explains: the same people under the same ids
WRONG = 8  # wrong ways to match users that are tried
INSTEAD = "Start from a result of another dataset."


def checked_start(workspace: Workspace, spec: TrainSpec) -> TrainSpec:
    """The spec with the ids of the results that its parameters `start_from` name, those of a fusion's parts too.

    Raises NotFound for one that is not there, Unsupported where it, or what it started from itself, learnt from another cut of the same
    dataset: from users who are held out now."""

    def checked(name: str) -> str:
        run = workspace.run(name.removeprefix(RUN))
        for one in [_about(run), *_behind(run)]:
            if one["dataset"] == spec.dataset and (one["split_id"] != spec.split_id or _folds(spec) > 1):
                raise Unsupported(_refusal(run.name, one["run"] == run.id, one["split_id"] == spec.split_id), INSTEAD)
        return f"{RUN}{run.id}"

    params = _renamed(spec.params, checked)
    return spec if params == spec.params else spec.model_copy(update={"params": params})


def started_from(workspace: Workspace, spec: TrainSpec) -> list[dict[str, Any]]:
    """{"run", "name", "dataset", "dataset_name", "split_id"} of the results a model starts from, and of all these started from; for its
    manifest, which knows them still when they are deleted."""
    return [one for start in _starts(spec.params) for run in [workspace.run(start)] for one in [_about(run), *_behind(run)]]


def refuse_same_people(workspace: Workspace, spec: TrainSpec, data: Dataset) -> None:
    """Raises Unsupported where what a model starts from was trained on these people, in a dataset of another id (read otherwise, or with
    other limits). Cost: reads the interactions of those datasets. People under other ids cannot be told."""
    for one in started_from(workspace, spec):
        if one["dataset"] == spec.dataset:
            continue  # the same cut: checked before
        try:
            theirs = workspace.dataset(one["dataset"]).load()
        except NotFound:  # deleted since
            continue
        share = same_people(theirs, data)
        if share > SAME:
            raise Unsupported(
                f"'{one['name']}' learnt from '{one['dataset_name']}', where the same users have the same items ({share:.0%} of the "
                "interactions): it may have learnt from users who are to be judged here.",
                "Start from a result on other people.",
            )


def same_people(one: Dataset, other: Dataset) -> float:
    """Share of the interactions two datasets have in common under the same ids of users and items, beyond what they have in common when
    users are matched wrongly, in the best of some ways to do so: ids that are alike by accident, or that are numbered by taste in both,
    come to about 0. Cost: WRONG + 1 sparse products of the users in common."""
    users, items = other.users.encode(one.users.ids), other.items.encode(one.items.ids)
    whose, what = np.flatnonzero(users >= 0), np.flatnonzero(items >= 0)
    if len(whose) < 2 or not len(what):
        return 0.0
    left = one.matrix("seen")[whose][:, what].sign()
    right = other.matrix("seen")[users[whose]][:, items[what]].sign()
    fewest = min(left.nnz, right.nnz)
    if not fewest:
        return 0.0
    rows = np.arange(len(whose))
    wrong = max(left[np.roll(rows, by)].multiply(right).sum() for by in range(1, min(WRONG, len(whose) - 1) + 1))
    return float(left.multiply(right).sum() - wrong) / fewest


# ---- inside ------------------------------------------------------------------------------------------
def _starts(value: Any) -> Iterator[str]:
    """Names or ids of the results that settings, and settings of parts, start from."""
    for name, part in value.items() if isinstance(value, dict) else ():
        if name == START and str(part or "").startswith(RUN):
            yield str(part).removeprefix(RUN)
        else:
            yield from _starts(part)


def _renamed(value: Any, found: Callable[[str], str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: found(part) if name == START and str(part or "").startswith(RUN) else _renamed(part, found) for name, part in value.items()
    }


def _about(run: RunEntry) -> dict[str, Any]:
    dataset = run.dataset
    named = dataset.name if dataset is not None else run.dataset_id
    return {"run": run.id, "name": run.name, "dataset": run.dataset_id, "dataset_name": named, "split_id": run.split_id}


def _behind(run: RunEntry) -> list[dict[str, Any]]:
    """What a result started from, as it was when it was trained."""
    return list(run.manifest.get("started_from") or ())


def _folds(spec: TrainSpec) -> int:
    return int(getattr(spec.splitter().params, "folds", 1))


def _refusal(name: str, itself: bool, same_cut: bool) -> str:
    if same_cut:
        return f"'{name}' is of the same dataset, and the test users of one fold are training users of another."
    what = "was trained" if itself else "started from a model that was trained"
    return f"'{name}' {what} on another cut of the same dataset, so it has learnt from users who are to be judged here."
