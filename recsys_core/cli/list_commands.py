"""`recommend`, `evaluate`: lists from a saved run, and figures of lists from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput, DataError, NotFound
from .output import JSON_OPTION, metrics_table, print_json, say

if TYPE_CHECKING:
    from ..data.ids import IdMap
    from ..data.topk import TopK
    from ..store.entries import RunEntry


def register(app: typer.Typer) -> None:
    app.command("recommend")(recommend)
    app.command("evaluate")(evaluate)


def open_run(name: str) -> RunEntry:
    """A run by its folder, or by name or id in the workspace."""
    from ..store import RunEntry, Workspace

    path = Path(name).expanduser()
    if (path / "manifest.json").is_file():
        return RunEntry.open(path)
    if path.exists():
        raise NotFound(f"'{name}' is not a run: it has no manifest.json.", "Give the folder that train --out wrote.")
    try:
        return Workspace().run(name)
    except NotFound as error:
        raise NotFound(f"There is no run folder '{name}', and no run of that name in the workspace.", error.hint) from None


def recommend(
    run: str = typer.Option(..., "--run", help="Folder of a run, or its name in the workspace."),
    users: str | None = typer.Option(None, "--users", help="A file of user ids, one a line. Default: all training users."),
    histories: str | None = typer.Option(
        None, "--histories", help="A file user,item[,value][,time] of users to serve from these items alone."
    ),
    k: int = typer.Option(20, "--k", help="Length of the lists."),
    include_seen: bool = typer.Option(False, "--include-seen", help="Items a user has had may be on the list."),
    out: str = typer.Option(..., "--out", help="The CSV to write: user,item,rank,score."),
    json: bool = JSON_OPTION,
) -> None:
    """Write top-k lists of a saved run."""
    from dataclasses import replace

    import numpy as np

    from ..evaluation.questions import plain_like
    from .read import read_histories, read_user_ids
    from .train_command import write_csv

    if users and histories:
        raise BadInput("Give either --users or --histories, not both.")
    if not 1 <= k <= 1000:
        raise BadInput(f"--k must be from 1 to 1000; got {k}.")
    target = Path(out).expanduser()
    if target.is_dir() or not target.parent.is_dir():
        raise BadInput(f"--out '{out}' cannot be written.", "Name a file in a folder that exists.")
    ids = read_user_ids(users) if users else None
    model = open_run(run).model()
    train = model.fitted
    notes: list[str] = []
    if histories:
        names, rows, n_lost = read_histories(histories, train.items)
        if (rows.values == 1).all() and (like := plain_like(model)) != 1:
            rows = replace(rows, values=np.full_like(rows.values, like))
            notes.append(f"The histories have no ratings: everything in them counts as liked, as a rating of {like:g}.")
        top = model.recommend_for_history(rows, k, exclude_seen=not include_seen)
        n_unknown = int((rows.lengths == 0).sum())
        notes += [f"{n_lost:,} rows name items the model has never met; they are left aside."] if n_lost else []
        notes += [f"{n_unknown:,} users have no known item: they get {model.given_to_strangers}."] if n_unknown else []
    else:
        from ..store.audience import audience

        who = audience(train, ids)
        names = who.names
        top = model.recommend(who.codes, k, exclude_seen=not include_seen)
        n_unknown = int((np.diff(train.matrix("seen").indptr)[who.codes] == 0)[who.codes >= 0].sum()) + who.n_unknown
        notes += (
            [f"{n_unknown:,} of {len(who):,} users are not known to the model: they get {model.given_to_strangers}."] if n_unknown else []
        )
        notes += [f"{who.n_repeated:,} user ids were given more than once and are used once."] if who.n_repeated else []
    part = target.with_name(f".{target.name}.part")
    n_rows = write_csv(top, names, train.items, part)
    part.replace(target)
    if json:
        print_json({"file": str(target), "rows": n_rows, "users": len(top), "unknown_users": n_unknown, "notes": notes})
        return
    for note in notes:
        say(note)
    print(f"{n_rows:,} rows for {len(top):,} users in {target}.")


def evaluate(
    recs: str = typer.Option(..., "--recs", help="Lists: user,item[,rank][,score]."),
    test: str = typer.Option(..., "--test", help="Held-out interactions: user,item[,value][,time]."),
    train: str = typer.Option(..., "--train", help="What the lists were made from."),
    items: str | None = typer.Option(None, "--items", help="A table that describes the items, for diversity by category."),
    threshold: float | None = typer.Option(None, "--threshold", help="Ratings at or above it are relevant (default: every row is)."),
    k: str = typer.Option("5,10,20", "--k", help="List lengths, separated by commas."),
    json: bool = JSON_OPTION,
) -> None:
    """Measure lists made anywhere against a test file."""
    from ..context import QUIET
    from ..metrics import Catalog
    from ..metrics import evaluate as measure
    from ..splitting.own_test import own_test
    from .read import existing, read_interactions

    ks = _lengths(k)
    for path, what in ((recs, "file of lists"), (test, "test file"), (train, "training file")):
        existing(path, what)
    trained_on, columns = read_interactions(train, QUIET, items=items, threshold=threshold)
    split = own_test(trained_on, read_interactions(test, QUIET, like=columns)[0])
    top, base, notes = _read_lists(recs, split.train, max(ks))
    holdout = _widened(split.test, base)
    evaluation = measure(top, holdout, Catalog.from_dataset(base), ks)
    means, notes = evaluation.means(), [*split.notes, *notes, *evaluation.notes]
    metrics = {n: {"mean": means[n], "low": a, "high": b} for n, (a, b) in evaluation.intervals().items()}
    if json:
        print_json({"ks": list(ks), "n_users": evaluation.n_users, "metrics": metrics, "overall": evaluation.overall, "notes": notes})
        return
    for note in notes:
        say(note)
    metrics_table(metrics, evaluation.overall)
    print(f"\n{evaluation.n_users:,} test users.")


def _lengths(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdigit() and 1 <= int(part) <= 1000 for part in parts):
        raise BadInput(f"--k must be whole numbers from 1 to 1000, separated by commas; got '{text}'.")
    return tuple(sorted({int(part) for part in parts}))


def _read_lists(path: str, base: Any, width: int) -> tuple[TopK, Any, list[str]]:
    """(lists in codes, `base` with ids for items only the lists name, notes)."""
    from dataclasses import replace

    import numpy as np
    import pandas as pd

    from ..data.ids import IdMap
    from ..data.topk import TopK
    from .read import ITEM_NAMES, USER_NAMES, column, read_frame

    frame = read_frame(path, "file of lists")
    user, item = column(frame, USER_NAMES[:-1], 0), column(frame, ITEM_NAMES, 1)
    if user is None or item is None or user == item:
        raise DataError(f"'{Path(path).name}' needs the columns user and item.", f"It has: {', '.join(map(str, frame.columns))}.")
    rank, score = column(frame, ("rank", "position")), column(frame, ("score", "prediction", "value"))
    rows = pd.DataFrame({"user": frame[user], "item": frame[item], "order": np.arange(len(frame), dtype=float)}).dropna()
    by = rank or score
    if by is not None:
        numbers = pd.to_numeric(frame[by].loc[rows.index], errors="coerce")
        if numbers.isna().any():
            raise DataError(f"{int(numbers.isna().sum()):,} rows of '{Path(path).name}' have no number in '{by}'.", "Mend the file.")
        rows["order"] = numbers if rank else -numbers
    notes: list[str] = []
    rows = rows.sort_values(["user", "order"], kind="stable")
    repeated = rows.duplicated(["user", "item"])
    if repeated.any():
        notes.append(f"{int(repeated.sum()):,} items are on a list twice; the later place is left out.")
        rows = rows[~repeated]
    new_items = rows["item"][base.items.encode(rows["item"]) < 0].drop_duplicates()
    if len(new_items):
        notes.append(f"{len(new_items):,} items of the lists are in neither file: they can only miss.")
        base = replace(base, items=_more(base.items, new_items), item_table=_longer(base.item_table, len(base.items) + len(new_items)))
    codes = base.users.encode(rows["user"])
    if (codes < 0).any():
        notes.append(f"{rows['user'][codes < 0].nunique():,} users with a list are in neither file: left aside.")
    place = rows.groupby("user", sort=False).cumcount().to_numpy()
    keep = (codes >= 0) & (place < width)
    users, row = np.unique(codes[keep], return_inverse=True)
    if not len(users):
        raise DataError(f"No user of '{Path(path).name}' is in the training or test file.", "Check that all files use the same user ids.")
    lists = np.full((len(users), width), -1, dtype=np.int32)
    lists[row, place[keep]] = base.items.encode(rows["item"])[keep]
    scores = np.where(lists >= 0, -np.arange(width, dtype=np.float32)[None, :], np.nan).astype(np.float32)
    assert isinstance(base.items, IdMap)
    return TopK(users.astype(np.int32), lists, scores), base, notes


def _more(ids: IdMap, new: Any) -> IdMap:
    import numpy as np

    from ..data.ids import IdMap

    return IdMap(np.concatenate([np.asarray(ids.ids, dtype=object), np.asarray(new, dtype=object)]))


def _longer(table: Any, n: int) -> Any:
    return None if table is None else table.reset_index(drop=True).reindex(range(n))


def _widened(holdout: Any, base: Any) -> Any:
    """The holdout on the id maps of `base` (codes do not change: new ids come after)."""
    from dataclasses import replace

    from ..data.holdout import Holdout

    return Holdout(replace(holdout.truth, items=base.items, item_table=base.item_table))
