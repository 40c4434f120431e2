"""Recommendation lists for the world outside: chosen users, chosen items, chosen columns, one file.

Lists are made and written in batches of users, so that memory does not grow with their number.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from ..context import QUIET, RunContext
from ..data.dataset import Dataset
from ..data.topk import TIED_SHARE, TopK, top_k
from ..errors import BadInput
from ..models._base import Recommender
from ..models._masking import top_k_fair
from .audience import Activity, Audience, Filter, allowed_items, audience
from .entries import ExportEntry, RunEntry
from .files import clean_name, staged_folder
from .shaping import Rerank, Shaping, with_table
from .spreadsheet import safe_frame
from .workspace import Workspace

SCORE_CELLS = 8_000_000  # scores held at once
LOOKED_AT = 50  # users by whose lists is told whether the order of new items means anything
LINE_END = "\r\n"  # RFC 4180; and so a lone CR inside a cell is quoted too, else what follows it would start a row


class ExportRequest(BaseModel):
    """What to export. JSON-able, so that a job can carry it.

    users: external ids, None = all. activity, user_filters: a segment of them. exclude_seen: leave out what
    a user has had; seen: "dataset" = anywhere in the data, held-out part included; "training" = only what the
    model learnt from. allow, deny: external item ids; item_filters: rules on item columns. new_items_only: lists of
    items that the model saw nobody choose. user_columns, item_columns: columns of the tables to add. rerank: how the
    lists are shaped, after the model and the rules on items: {"method": key of a re-ranker, "params": {…}, "depth":
    candidates of a list}; None leaves them as the model makes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = 20
    users: list[str] | None = None
    activity: Activity = "all"
    user_filters: list[Filter] = []
    exclude_seen: bool = True
    seen: Literal["dataset", "training"] = "dataset"
    allow: list[str] | None = None
    deny: list[str] | None = None
    item_filters: list[Filter] = []
    new_items_only: bool = False
    user_columns: list[str] = []
    item_columns: list[str] = []
    rerank: Rerank | None = None
    format: Literal["csv", "parquet"] = "csv"
    name: str = ""

    @classmethod
    def make(cls, **values: Any) -> ExportRequest:
        """A request, with BadInput in words instead of pydantic's own error."""
        try:
            request = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; got {first.get('input')!r}.") from None
        if not 1 <= request.k <= 1000:
            raise BadInput(f"The list length k must be from 1 to 1000; got {request.k}.")
        return request


@dataclass(frozen=True)
class ExportPreview:
    """frame: the first lists as they will be written. n_rows: how many rows the file will have. notes:
    what the user should know, in sentences."""

    frame: pd.DataFrame
    n_rows: int
    n_users: int
    n_unknown: int
    n_items_allowed: int
    notes: list[str]


@dataclass(frozen=True)
class Plan:
    """A request with everything looked up: the model, the data with tables, who and what."""

    model: Recommender
    data: Dataset
    request: ExportRequest
    who: Audience
    allowed: np.ndarray | None
    notes: list[str]
    shaping: Shaping | None = None

    def batches(self) -> Iterator[slice]:
        rows = int(np.clip(SCORE_CELLS // max(1, self.data.n_items), 16, 4096))
        for start in range(0, len(self.who), rows):
            yield slice(start, min(start + rows, len(self.who)))


def plan_export(run: RunEntry, request: ExportRequest, *, model: Recommender | None = None, data: Dataset | None = None) -> Plan:
    """Look everything up and check it. model, data: to spare loading them again."""
    model = model or run.model()
    if data is None:
        data = run.dataset.load() if run.dataset is not None else model.fitted
    for side, columns, table in (("user", request.user_columns, data.user_table), ("item", request.item_columns, data.item_table)):
        missing = [c for c in columns if table is None or c not in table.columns]
        if missing:
            raise BadInput(f"The {side} table has no column '{missing[0]}'.", "Choose from the columns it has.")
    who = audience(data, request.users, request.activity, request.user_filters)
    allowed, notes = allowed_items(data, request.allow, request.deny, request.item_filters)
    if request.new_items_only:
        allowed, said = _only_new(model.fitted, data, allowed)
        notes.append(said)
    if who.n_unknown:
        notes.append(f"{who.n_unknown:,} of {len(who):,} users are not in the data: they get {model.given_to_strangers}.")
    if who.n_repeated:
        notes.append(f"{who.n_repeated:,} user ids were given more than once and are used once.")
    shaping = None if request.rerank is None else Shaping.make(request.rerank, with_table(model.fitted, data), request.k)
    plan = Plan(model, data, request, who, allowed, notes + (shaping.notes if shaping is not None else []), shaping)
    if request.new_items_only and len(who) and _knows_nothing_new(plan):
        note = "This recommender knows nothing of the new items: which of them are on a list, and in which order, is chance."
        plan = replace(plan, notes=[*plan.notes, note])
    return plan


def _knows_nothing_new(plan: Plan) -> bool:
    """Whether it reads no columns, or gives all items of a list the same score; told by the lists of the first users."""
    if not plan.model.reads(plan.model.params):
        return True
    bare = replace(plan, request=plan.request.model_copy(update={"k": max(2, plan.request.k)}), shaping=None)
    return bool(_lists(bare, slice(0, LOOKED_AT)).tied.mean() >= TIED_SHARE)


def _only_new(train: Dataset, data: Dataset, allowed: np.ndarray | None) -> tuple[np.ndarray, str]:
    """(bool (I,): those of `allowed` that no training interaction has, a sentence). Raises BadInput when there is none."""
    new = np.bincount(train.item, minlength=data.n_items)[: data.n_items] == 0
    new = new if allowed is None else new & allowed
    n = int(new.sum())
    if not n:
        raise BadInput(
            "Only new items were asked for, and none of the items allowed is new to the recommender.",
            "Read the data again and keep items nobody has chosen yet, or allow all items.",
        )
    return new, f"Lists are made of the {n:,} {'item' if n == 1 else 'items'} that the recommender saw nobody choose."


def preview(
    run: RunEntry, request: ExportRequest, *, n_users: int = 5, model: Recommender | None = None, data: Dataset | None = None
) -> ExportPreview:
    """The first lists and the number of rows, without making the others."""
    plan = plan_export(run, request, model=model, data=data)
    rows = slice(0, min(n_users, len(plan.who)))
    allowed = plan.data.n_items if plan.allowed is None else int(plan.allowed.sum())
    return ExportPreview(_finish(plan, _lists(plan, rows), rows), _count_rows(plan), len(plan.who), plan.who.n_unknown, allowed, plan.notes)


def export_lists(
    workspace: Workspace,
    run: RunEntry,
    request: ExportRequest,
    ctx: RunContext = QUIET,
    *,
    model: Recommender | None = None,
    data: Dataset | None = None,
) -> ExportEntry:
    """Write the file into the workspace's exports; the entry knows its rows."""
    plan = plan_export(run, request, model=model, data=data)
    export_id = f"{time.time_ns() // 1_000_000:x}{uuid.uuid4().hex[:5]}"
    wanted = clean_name(request.name) if request.name else f"{run.name}, top {request.k}"
    target = workspace.root / "exports" / export_id
    with staged_folder(target) as folder:
        file = folder / f"recommendations.{request.format}"
        rows = write_lists(plan, file, ctx)
        manifest = {
            "run": run.id,
            "run_name": run.name,
            "file": file.name,
            "rows": rows,
            "n_users": len(plan.who),
            "n_unknown": plan.who.n_unknown,
            "notes": plan.notes,
            "request": request.model_dump(mode="json", exclude={"users"})
            | {"n_users_given": None if request.users is None else len(request.users)},
        }
        workspace.publish(folder, target, wanted, manifest)
    return ExportEntry.open(target)


def write_lists(plan: Plan, file: Path, ctx: RunContext = QUIET) -> int:
    """Write all lists of a plan to a CSV or Parquet file; the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_rows, parquet = 0, None
    try:
        for rows in plan.batches():
            ctx.report("Writing lists", rows.start / len(plan.who), message=f"{rows.start:,} of {len(plan.who):,} users")
            frame = _finish(plan, _lists(plan, rows), rows)
            n_rows += len(frame)
            if plan.request.format == "csv":
                frame.to_csv(file, mode="a" if rows.start else "w", header=rows.start == 0, index=False, lineterminator=LINE_END)
                continue
            table = pa.Table.from_pandas(frame, preserve_index=False, schema=parquet.schema if parquet else None)
            if parquet is None:
                table = _no_null_columns(table)
                parquet = pq.ParquetWriter(file, table.schema)
            parquet.write_table(table)
    finally:
        if parquet is not None:
            parquet.close()
    return n_rows


def _no_null_columns(table: Any) -> Any:
    """A column that is empty in the first batch may hold text in the next."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_null(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.string()))
    return table


def _lists(plan: Plan, rows: slice) -> TopK:
    """The lists of one batch. Users that are in the data but not in training are served from their history."""
    model, codes = plan.model, plan.who.codes[rows]
    trained = np.where(codes < model.fitted.n_users, codes, -1)
    request = plan.request
    met = np.zeros(len(codes), dtype=bool)
    met[trained >= 0] = model._history_sizes()[trained[trained >= 0]] > 0
    scores = model.scores(np.where(met, trained, -1))  # popularity for the others, for the moment
    lengths = plan.data.histories(np.maximum(codes, 0)).lengths
    told = model.reads_user_table & (trained >= 0)  # a row of the user table may be read
    fold_in = np.flatnonzero(~met & (codes >= 0) & ((lengths > 0) | told))
    if len(fold_in):
        scores = np.array(scores)
        scores[fold_in] = model.history_scores(plan.data.histories(codes[fold_in]), trained[fold_in])
    elif not scores.flags.writeable:
        scores = scores.copy()
    if request.exclude_seen:
        seen = (plan.data if request.seen == "dataset" else model.fitted).matrix("seen")
        known = np.flatnonzero((codes >= 0) & (codes < seen.shape[0]))
        part = seen[codes[known]]
        scores[np.repeat(known, np.diff(part.indptr)), part.indices] = -np.inf
    if plan.allowed is not None:
        scores[:, ~plan.allowed] = -np.inf
    if plan.shaping is None and request.new_items_only:  # where nothing is known of them, nobody is given the first of the file
        return TopK(codes, *top_k_fair(scores, request.k, plan.allowed, codes))
    if plan.shaping is None:
        return TopK(codes, *top_k(scores, request.k))
    histories = replace(plan.shaping.shelf, train=plan.data).histories(codes)
    return plan.shaping.lists(codes, scores, request.k, histories)


def _finish(plan: Plan, top: TopK, rows: slice) -> pd.DataFrame:
    """External ids and added columns; text made safe when it goes to a spreadsheet."""
    data, request = plan.data, plan.request
    frame = top.frame(plan.who.names[rows], data.items)
    row, column = np.nonzero(top.items >= 0)
    for side, columns, table, codes in (
        ("user", request.user_columns, data.user_table, top.users[row]),
        ("item", request.item_columns, data.item_table, top.items[row, column]),
    ):
        for name in columns:
            values = table[name].reset_index(drop=True)
            picked = values.take(np.maximum(codes, 0)).reset_index(drop=True).where(pd.Series(codes >= 0), None)
            frame[name if name not in frame.columns else f"{side}_{name}"] = (
                picked.to_numpy() if picked.dtype != object else picked.to_numpy(object)
            )
    return safe_frame(frame) if request.format == "csv" else frame


def _count_rows(plan: Plan) -> int:
    """Rows the file will have: k a user, fewer where the allowed items the user has not had run out (or rules leave lists short)."""
    n_allowed = plan.data.n_items if plan.allowed is None else int(plan.allowed.sum())
    left = np.full(len(plan.who), n_allowed, dtype=np.int64)
    if plan.request.exclude_seen:
        seen = (plan.data if plan.request.seen == "dataset" else plan.model.fitted).matrix("seen")
        if plan.allowed is not None:
            had = np.asarray(seen @ plan.allowed.astype(np.float32)).ravel().astype(np.int64)
        else:
            had = np.diff(seen.indptr).astype(np.int64)
        known = (plan.who.codes >= 0) & (plan.who.codes < len(had))
        left[known] -= had[plan.who.codes[known]]
    return int(np.minimum(left, plan.request.k).sum())


__all__ = ["ExportPreview", "ExportRequest", "Filter", "Plan", "export_lists", "plan_export", "preview", "write_lists"]
