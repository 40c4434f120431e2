"""Raw file + plan -> dataset, report and the file of rejected rows."""

from __future__ import annotations

import tempfile
import time as clock
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...context import QUIET, RunContext
from ...errors import DataError, WorkbenchError
from ..dataset import Dataset
from ..ids import IdMap
from .guard import guarded
from .opening import open_source
from .plan import IngestPlan
from .read import Rows, read_rows
from .rejects import write_rejects
from .report import IngestReport, JoinReport
from .shape import Interactions, compact, decay, kcore, merge
from .source import Source, unreadable
from .tables import column_hints, join_table
from .values import TIME_LABELS, guess_time

_MISSING_WORDS = ("nan", "null", "none", "n/a", "na", "undefined", "<na>")


@dataclass(frozen=True)
class IngestResult:
    """rejects_path: gzip-packed CSV of the rejected rows, None when there are none."""

    dataset: Dataset
    report: IngestReport
    rejects_path: Path | None


@guarded
def ingest(
    source: Source,
    plan: IngestPlan,
    ctx: RunContext = QUIET,
    *,
    item_source: Source | None = None,
    user_source: Source | None = None,
    work_dir: str | Path | None = None,
    learnable: bool = True,
) -> IngestResult:
    """Read a source by a plan. Raises DataError, one sentence and what to do, for a file that cannot be used.

    work_dir: where the rejects file goes (a temporary folder otherwise). item_source / user_source:
    tables joined by id; opened from plan.items_file / plan.users_file when not given. learnable=False: a
    test or history file, which may well hold a single user or item.
    Cost: 10 million rows of user,item,rating,timestamp in about the time of DuckDB's own copy to Parquet and 1 GiB.
    """
    started = clock.perf_counter()
    try:
        return _ingest(source, plan, ctx, item_source, user_source, work_dir, started, learnable)
    except (WorkbenchError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"'{source.name}' cannot be read ({error.strerror or error}).", "Check the file and the free disk space.") from None


def _ingest(
    source: Source,
    plan: IngestPlan,
    ctx: RunContext,
    item_source: Source | None,
    user_source: Source | None,
    work_dir: str | Path | None,
    started: float,
    learnable: bool,
) -> IngestResult:
    for column in (plan.columns.user, plan.columns.item, plan.columns.value, plan.columns.event, plan.columns.time):
        if column is not None:
            source.sql_of(column)
    ctx.report("Reading rows", 0.0)
    time_format, time_note = _time_format(source, plan)
    rows = read_rows(source, plan, time_format, ctx)
    n_read = len(rows.user) + rows.n_filtered + len(rows.rejects)
    _refuse_empty(rows, n_read, source)
    if learnable:
        _refuse_single(rows, source)
    ctx.report("Merging", 0.7)
    warnings = [*rows.warnings, *_id_warnings(rows)]
    made = Interactions(rows.user, rows.item, rows.value, rows.time)
    if plan.half_life_days and plan.feedback == "implicit":
        if made.time is None:
            warnings.append("There is no time column: the half-life has no effect.")
        made = decay(made, plan.half_life_days)
    n_good = len(made)
    made = merge(made, len(rows.user_ids), len(rows.item_ids), plan.duplicates)
    n_merged = n_good - len(made)
    core = None
    if plan.min_user > 1 or plan.min_item > 1:
        made, core = kcore(made, len(rows.user_ids), len(rows.item_ids), plan.min_user, plan.min_item)
        if not len(made):
            raise DataError(
                f"No interaction is left when every user needs {plan.min_user} and every item {plan.min_item}.",
                "Lower the fewest interactions.",
            )
    dataset, _ = _dataset(rows, made, plan, source)
    joins: dict[str, JoinReport | None] = {"item": None, "user": None}
    for side, table_source, file, id_column, keep, in_file in (
        ("item", item_source, plan.items_file, plan.items_id, plan.keep_new_items, rows.item_ids),
        ("user", user_source, plan.users_file, plan.users_id, plan.keep_new_users, rows.user_ids),
    ):
        if table_source is None and file:
            table_source = open_source(file)
        if table_source is not None:
            ctx.report(f"Joining the {side} table", 0.85)
            dataset, joins[side], said = _join(dataset, table_source, side, id_column, in_file if keep else None)
            warnings += said
    rejects_path = None
    if len(rows.rejects):
        ctx.report("Writing rejected rows", 0.95)
        folder = Path(work_dir) if work_dir is not None else Path(tempfile.mkdtemp(prefix="recsys-rejects-"))
        folder.mkdir(parents=True, exist_ok=True)
        rejects_path = write_rejects(rows.rejects, folder / "rejects.csv.gz")
        warnings.append(_reject_sentence(rows, n_read))
    first, last = _span(dataset.time)
    report = IngestReport(
        source=source.name,
        content_hash=source.content_hash,
        rows_read=rows.source.n_records,
        rows_kept=len(dataset),
        rows_merged=n_merged,
        rows_filtered=rows.n_filtered + (core.rows if core else 0),
        rows_rejected=len(rows.rejects),
        blank_lines=rows.source.n_blank,
        reject_reasons=rows.reject_reasons,
        filter_reasons=rows.filter_reasons | ({"fewest interactions": core.rows} if core and core.rows else {}),
        kcore=core,
        users=dataset.n_users,
        items=dataset.n_items,
        columns=plan.columns.model_dump(),
        time_format=time_format,
        time_note=time_note,
        first_time=first,
        last_time=last,
        item_join=joins["item"],
        user_join=joins["user"],
        notes=[*rows.source.notes, "Blanks around ids were removed; apart from that ids are kept exactly as in the file."],
        warnings=warnings,
        settings=plan.model_dump(),
        seconds=clock.perf_counter() - started,
    )
    if not report.adds_up:  # never seen; a dataset whose counts do not add up must not be saved
        raise DataError(
            f"The rows of '{source.name}' do not add up: {report.rows_read} read, {report.rows_kept} kept, {report.rows_merged} merged, "
            f"{report.rows_filtered} left out, {report.rows_rejected} rejected.",
            "Save the file again as plain CSV in UTF-8.",
        )
    ctx.report("Done", 1.0)
    return IngestResult(dataset, report, rejects_path)


def _time_format(source: Source, plan: IngestPlan) -> tuple[str | None, str]:
    if plan.columns.time is None:
        return None, ""
    found = guess_time(source.spread_sample()[plan.columns.time])
    if plan.time_format != "auto" and (found is None or found.format != plan.time_format):
        return plan.time_format, f"Times were read as {TIME_LABELS[plan.time_format]}, as chosen."
    if found is None:
        return "s", f"Times were read as {TIME_LABELS['s']}."
    return found.format, found.note


def _refuse_empty(rows: Rows, n_read: int, source: Source) -> None:
    """Raise when nothing usable is left, naming the commonest reason and where it struck first."""
    if len(rows.user) == 0:
        if rows.reject_reasons:
            reason, n = max(rows.reject_reasons.items(), key=lambda pair: pair[1])
            first = rows.rejects[rows.rejects["reason"].str.startswith(reason)].iloc[0]
            where = f"column '{first['column']}', " if first["column"] else ""
            shown = "" if pd.isna(first["value"]) or not first["value"] else f": {str(first['value'])[:60]!r}"
            raise DataError(
                f"No row of '{source.name}' can be used: {n:,} of {n_read:,} have the fault '{reason}' "
                f"(first in {where}line {first['line']}{shown}).",
                "Check which column is which, the separator and the time format.",
            )
        raise DataError(
            f"No row of '{source.name}' is left: all {n_read:,} were left out by the event weights or the threshold.", "Change them."
        )


def _refuse_single(rows: Rows, source: Source) -> None:
    """One user or one item only: nothing to learn from."""
    if len(rows.user_ids) == 1 and len(rows.item_ids) == 1:
        raise DataError(
            f"All rows of '{source.name}' have the same user and the same item: there is nothing to learn.", "Check which column is which."
        )
    if len(rows.user) > 1 and (len(rows.user_ids) == 1 or len(rows.item_ids) == 1):
        side = "user" if len(rows.user_ids) == 1 else "item"
        ids = rows.user_ids if side == "user" else rows.item_ids
        raise DataError(
            f"All rows of '{source.name}' have the same {side} '{str(ids[0])[:60]}': there is nothing to learn from.",
            f"Check which column is the {side}.",
        )


def _id_warnings(rows: Rows) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    said = []
    for side, ids, codes in (("user", rows.user_ids, rows.user), ("item", rows.item_ids, rows.item)):
        at = np.flatnonzero(pc.is_in(pc.utf8_lower(ids), value_set=pa.array(_MISSING_WORDS)).to_numpy(zero_copy_only=False))
        if len(at):
            n = int(np.isin(codes, at).sum())
            names = ", ".join(repr(str(ids[int(k)])) for k in at[:3])
            have = "row has" if n == 1 else "rows have"
            said.append(f"{n:,} {have} the {side} id {names}, which often stands for a missing value; it was kept as an id.")
    return said


def _dataset(rows: Rows, made: Interactions, plan: IngestPlan, source: Source) -> tuple[Dataset, tuple[np.ndarray, np.ndarray]]:
    import pyarrow as pa

    user, used_users = compact(made.user, len(rows.user_ids))
    item, used_items = compact(made.item, len(rows.item_ids))
    maps = [
        IdMap.from_sorted(ids if len(used) == len(ids) else ids.take(pa.array(used)))
        for ids, used in ((rows.user_ids, used_users), (rows.item_ids, used_items))
    ]
    meta: dict[str, Any] = {"source": source.name, "source_hash": source.content_hash, "columns": plan.columns.model_dump()}
    dataset = Dataset(
        users=maps[0],
        items=maps[1],
        user=user,
        item=item,
        value=made.value,
        time=made.time,
        feedback=plan.feedback,
        threshold=plan.threshold if plan.feedback == "explicit" else None,
        name=Path(source.name).stem,
        meta=meta,
    )
    return dataset, (used_users, used_items)


def _join(dataset: Dataset, source: Source, side: str, id_column: str | None, in_file: Any = None) -> tuple[Dataset, JoinReport, list[str]]:
    """in_file: Arrow strings, the ids of the file, where ids of the table that are not among them are to be kept. What the fewest
    interactions removed was chosen by somebody: it is not new, and stays out."""
    from dataclasses import replace

    def is_new(keys: pd.Series) -> np.ndarray:
        return ~keys.isin(in_file.to_pandas()).to_numpy(dtype=bool)

    known = dataset.items if side == "item" else dataset.users
    try:
        table, report, said, ids = join_table(source, known, side, id_column, keep_new=None if in_file is None else is_new)
    except WorkbenchError:
        raise
    except (ValueError, TypeError) as error:
        raise unreadable(source.name, error) from None
    meta = dataset.meta | {f"{side}_columns": column_hints(table)}
    return replace(dataset, **{f"{side}_table": table, f"{side}s": ids, "meta": meta}), report, said


def _span(time: np.ndarray | None) -> tuple[str | None, str | None]:
    if time is None or not len(time):
        return None, None
    first, last = (str(np.datetime64(int(t), "s")).replace("T", " ") for t in (time.min(), time.max()))
    return first, last


def _reject_sentence(rows: Rows, n_read: int) -> str:
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in sorted(rows.reject_reasons.items(), key=lambda pair: -pair[1])[:4])
    share = len(rows.rejects) / max(1, n_read)
    return f"{len(rows.rejects):,} of {n_read:,} rows ({share:.1%}) were rejected: {reasons}. They are listed in the rejects file."
