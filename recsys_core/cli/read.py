"""Reading the files a command names, through the same door as the app's uploads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, DataError
from .output import say

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..context import RunContext
    from ..data.dataset import Dataset
    from ..data.histories import Histories
    from ..data.ids import IdMap
    from ..data.ingest import Columns, Source


def existing(path: str | Path, what: str = "file") -> Path:
    """The path, if there is such a file."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise BadInput(f"There is no {what} '{path}'." if not found.exists() else f"'{path}' is a folder, not a file.", "Check the path.")
    return found


def make_plan(
    path: Path, *, changes: dict[str, Any] | None = None, columns: dict[str, str | None] | None = None, in_order: bool = False
) -> tuple[Any, Any]:
    """(source, plan): what the file is and how it will be read; what is not given is guessed.

    in_order: the file is `user,item[,value][,time]`: columns with these names, or the first two of a file
    without a header, are the user and the item whatever their content looks like.
    """
    from ..data.ingest import IngestPlan, guess_columns, open_source
    from ..data.ingest.plan import Columns

    source = open_source(path)
    guess = guess_columns(source)
    told = {role: name for role, name in (columns or {}).items() if name}
    for role, name in told.items():
        if name not in source.columns:
            raise DataError(f"'{path.name}' has no column '{name}' for the {role}.", f"It has: {', '.join(source.columns)}.")
    if in_order:
        told = _in_order(source) | told
    roles = {role: guess.roles[role].column for role in ("user", "item", "value", "event", "time")}
    roles = {role: None if name in told.values() else name for role, name in roles.items()} | told
    if not roles["user"] or not roles["item"]:
        missing = " and ".join(role for role in ("user", "item") if not roles[role])
        raise DataError(
            f"'{path.name}' has no column that looks like the {missing} id.", f"Name it; the columns are: {', '.join(source.columns)}."
        )
    more = dict(changes or {})
    if not roles["value"]:
        more |= {"feedback": "implicit", "value_is": "none", "threshold": None}
    return source, _checked(lambda: IngestPlan.from_guess(guess, columns=Columns(**roles), **more))


def _in_order(source: Source) -> dict[str, str]:
    """The user and the item column of a `user,item[,value][,time]` file, as far as names or places tell."""
    frame, place = source.sample(1), (None, None) if source.header else (0, 1)
    found = {"user": column(frame, USER_NAMES[:-1], place[0]), "item": column(frame, ITEM_NAMES, place[1])}
    return {role: name for role, name in found.items() if name}


def _checked(make: Any) -> Any:
    from pydantic import ValidationError

    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "The plan"
        reason = str(first.get("ctx", {}).get("error", first["msg"]))
        raise BadInput(f"{name}: {reason}.") from None


def read_interactions(
    path: str | Path,
    ctx: RunContext,
    *,
    items: str | None = None,
    users: str | None = None,
    threshold: float | None = None,
    like: Columns | None = None,
) -> tuple[Dataset, Columns]:
    """(a training or test file, its columns). Every row counts as relevant unless a threshold is given.

    like: the columns of the other file of a pair; those that are here too play the same roles.
    """
    from ..data.ingest import ingest, open_source

    file = existing(path)
    changes = {
        "items_file": str(existing(items, "item file")) if items else None,
        "users_file": str(existing(users, "user file")) if users else None,
    }
    same: dict[str, str | None] = {}
    if like is not None:
        here = open_source(file).columns
        both = like.user in here and like.item in here
        same = {role: name for role, name in like.model_dump().items() if both and name in here}
    source, plan = make_plan(file, changes=changes, columns=same, in_order=True)
    if plan.feedback == "explicit":
        plan = plan.with_(threshold=threshold)
    elif threshold is not None:
        raise BadInput(f"A threshold of {threshold:g} needs ratings; '{file.name}' has none.", "Leave --threshold out.")
    result = ingest(source, plan, ctx, learnable=like is None)
    report = result.report
    if report.rows_rejected:
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in report.reject_reasons.items())
        say(f"{report.rows_rejected:,} of {report.rows_read:,} rows of '{file.name}' cannot be used: {reasons}.")
    if report.rows_merged:
        say(f"{report.rows_merged:,} rows of '{file.name}' repeat a user and item and were merged with them.")
    return replace(result.dataset, name=file.name), plan.columns


def read_frame(path: str | Path, what: str) -> pd.DataFrame:
    """All rows, as text."""
    from ..data.ingest import open_source

    source = open_source(existing(path, what))
    return source.sample(max(1, source.n_records))


def column(frame: pd.DataFrame, names: tuple[str, ...], position: int | None = None) -> str | None:
    """The column with one of the names (case and punctuation do not count), else the one at a position."""
    plain = {"".join(c for c in str(name).lower() if c.isalnum()): name for name in frame.columns}
    for name in names:
        if name in plain:
            return plain[name]
    return frame.columns[position] if position is not None and position < len(frame.columns) else None


USER_NAMES = ("user", "userid", "users", "customer", "customerid", "uid", "id")
ITEM_NAMES = ("item", "itemid", "items", "product", "productid", "movieid", "iid")


def read_user_ids(path: str | Path) -> list[str]:
    """Ids, one a line, with or without a header; of a table its user column, else its first."""
    file = existing(path, "user file")
    try:
        frame = read_frame(file, "user file")
    except DataError as error:  # one column is no interaction file, but it is a fine list of ids
        lines = _text(file, error).splitlines()
        ids = [line.strip() for line in lines if line.strip()]
        header = bool(ids) and "".join(c for c in ids[0].lower() if c.isalnum()) in USER_NAMES
        ids = ids[1:] if header else ids
        if not ids:
            raise BadInput(f"'{file.name}' holds no user id.", "Give one id a line.") from None
        return ids
    name = column(frame, USER_NAMES, 0)
    return [str(v) for v in frame[name].dropna()]


def _text(file: Path, refused: DataError) -> str:
    """A list of ids as text: UTF-8, UTF-16 with its mark, else Latin-1. Raises what the reader said of a binary file."""
    raw = file.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw:
        raise refused
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_histories(path: str | Path, items: IdMap) -> tuple[np.ndarray, Histories, int]:
    """(external user ids, their histories in item codes, number of rows with unknown items)."""
    import numpy as np
    import pandas as pd

    from ..context import QUIET
    from ..data.histories import Histories
    from ..data.ingest import ingest

    source, plan = make_plan(existing(path, "history file"), in_order=True)
    data = ingest(source, plan, QUIET, learnable=False).dataset
    codes = items.encode(data.items.decode(data.item))
    known = codes >= 0
    time = None if data.time is None else data.time[known]
    histories = Histories.from_rows(data.n_users, data.user[known], codes[known], data.value[known], time)
    names = data.users.decode(np.arange(data.n_users))
    return np.asarray(pd.Series(names), dtype=object), histories, int((~known).sum())
