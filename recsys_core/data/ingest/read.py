"""The one pass over the rows: DuckDB parses and judges in parallel, ids become codes batch by batch.

Text leaves DuckDB only as Arrow batches that are dictionary-encoded at once, so the memory is that of
the codes (24 bytes a row with value and time) plus the distinct ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ...context import RunContext
from ...errors import WorkbenchError
from .plan import IngestPlan
from .records import locate
from .report import FILTERS, REASONS
from .source import Source, byte_start, repaired, unreadable
from .sql import connect, escape, relation, trimmed
from .values import NumberStyle, guess_numbers, number_sql, time_sql
from .vocabulary import event_weight

BATCH_ROWS = 1 << 18


@dataclass
class Rows:
    """Good rows in file order: int32 codes into the sorted ids, float32 value, int64 time or None.

    rejects: columns of rejects.COLUMNS. source: the one actually read (repaired where it had to be).
    """

    user: np.ndarray
    item: np.ndarray
    value: np.ndarray
    time: np.ndarray | None
    user_ids: Any
    item_ids: Any
    rejects: pd.DataFrame
    reject_reasons: dict[str, int]
    filter_reasons: dict[str, int]
    source: Source
    warnings: list[str] = field(default_factory=list)

    @property
    def n_filtered(self) -> int:
        return sum(self.filter_reasons.values())


def read_rows(source: Source, plan: IngestPlan, time_format: str | None, ctx: RunContext) -> Rows:
    """Read, judge and encode. Falls back to the line-by-line reader when DuckDB stumbles or the counts disagree."""
    try:
        rows, n_seen = _read(source, plan, time_format, ctx)
        if n_seen == source.n_records or source.form == "parquet":
            return rows
    except WorkbenchError:
        raise
    except Exception as error:
        if source.form == "parquet":
            raise unreadable(source.name, error) from None
    return _read(repaired(source), plan, time_format, ctx)[0]


def _read(source: Source, plan: IngestPlan, time_format: str | None, ctx: RunContext) -> tuple[Rows, int]:
    import pyarrow as pa

    query, warnings = _query(source, plan, time_format, sample := source.sample(2000))
    users: list[Any] = []
    items: list[Any] = []
    values: list[np.ndarray] = []
    times: list[np.ndarray] = []
    bad: list[pd.DataFrame] = []
    filtered: dict[int, int] = {}
    n_rows = 0
    with connect(ctx.threads, source.data_path.parent if source.form == "parquet" else None) as con:
        reader = con.sql(query).to_arrow_reader(BATCH_ROWS)
        for batch in reader:
            ctx.report("Reading rows", min(0.99, n_rows / max(1, source.n_records)))
            reason = batch.column("reason").to_numpy(zero_copy_only=False)
            if reason.any():
                at = np.flatnonzero(reason)
                kind = reason[at]
                for code in FILTERS:
                    filtered[code] = filtered.get(code, 0) + int((kind == code).sum())
                rejected = at[kind < min(FILTERS)]
                bad.append(_bad_rows(batch, rejected, reason[rejected], n_rows, source.has_line_column))
                batch_good = batch.filter(pa.array(reason == 0))
            else:
                batch_good = batch
            n_rows += batch.num_rows
            users.append(batch_good.column("u").dictionary_encode())
            items.append(batch_good.column("i").dictionary_encode())
            values.append(batch_good.column("v").to_numpy(zero_copy_only=False).astype(np.float32))
            if time_format:
                times.append(batch_good.column("t").to_numpy(zero_copy_only=False).astype(np.int64))
        refused = _reader_rejects(con, source)
    n_refused = len(refused) + len(source.refused)
    user, user_ids = _codes(users)
    item, item_ids = _codes(items)
    rejects = _locate_rejects(source, plan, bad, refused)
    counts = rejects["reason"].str.replace(r" \(.*\)$", "", regex=True).value_counts()
    rows = Rows(
        user=user,
        item=item,
        value=np.concatenate(values) if values else np.empty(0, np.float32),
        time=(np.concatenate(times) if times else np.empty(0, np.int64)) if time_format else None,
        user_ids=user_ids,
        item_ids=item_ids,
        rejects=rejects,
        reject_reasons={str(k): int(v) for k, v in counts.items()},
        filter_reasons={FILTERS[code]: n for code, n in filtered.items() if n},
        source=source,
        warnings=warnings,
    )
    del sample
    return rows, n_rows + n_refused


def _query(source: Source, plan: IngestPlan, time_format: str | None, sample: pd.DataFrame) -> tuple[str, list[str]]:
    """SELECT u, i, v, t, reason (0 = good), bad (the offending text) in file order; and what was assumed."""
    c = plan.columns
    warnings: list[str] = []
    reasons = ["WHEN u IS NULL THEN 1", "WHEN i IS NULL THEN 2"]
    bads = []
    inner = [f"{_id_sql(source, c.user)} AS u", f"{_id_sql(source, c.item)} AS i"]
    value = "1.0"
    if plan.uses_value:
        style = guess_numbers(sample[c.value]) or NumberStyle()
        if style.note:
            warnings.append(style.note)
        inner.append(f"{trimmed(source.sql_of(c.value))} AS vt")
        reasons += ["WHEN vt IS NULL THEN 3", "WHEN v0 IS NULL THEN 4"]
        bads.append("WHEN reason IN (3, 4, 5) THEN vt")
        if plan.value_is == "count" and plan.feedback == "implicit":
            reasons.append("WHEN v0 <= 0 THEN 5")
        value = "v0" if plan.feedback == "explicit" or plan.value_is == "count" else "1.0"
    number = number_sql("vt", style) if plan.uses_value else "1.0"
    weight = "1.0"
    if c.event:
        inner.append(f"{trimmed(source.sql_of(c.event))} AS et")
        weight, known = _weight_sql(plan.event_weights)
        reasons.append("WHEN et IS NULL THEN 8")
        reasons += ["WHEN w IS NULL THEN 9"] if known else []
        bads.append("WHEN reason IN (8, 9) THEN et")
    if time_format:
        inner.append(f"{trimmed(source.sql_of(c.time))} AS tt")
        reasons += ["WHEN tt IS NULL THEN 6", "WHEN t IS NULL THEN 7"]
        bads.append("WHEN reason IN (6, 7) THEN tt")
    seconds = time_sql("tt", time_format, sample[c.time]) if time_format else "NULL"
    reasons += ["WHEN w = 0 THEN 20"] if c.event else []
    if plan.uses_value and plan.feedback == "implicit" and plan.threshold is not None:
        reasons.append(f"WHEN v0 < {plan.threshold!r} THEN 21")
    line = ("line" if source.has_line_column else "file_row_number + 1") + " AS line" if source.form == "parquet" else "NULL AS line"
    inner.append(line)
    bad = f"CASE {' '.join(bads)} END" if bads else "NULL"
    return (
        f"SELECT u, i, CAST({value if weight == '1.0' else f'{value} * coalesce(w, 0)'} AS DOUBLE) AS v, t, reason, "
        f"CAST({bad} AS VARCHAR) AS bad, CAST(line AS BIGINT) AS line FROM ("
        f"SELECT *, CAST(CASE {' '.join(reasons)} ELSE 0 END AS UTINYINT) AS reason FROM ("
        f"SELECT *, {number} AS v0, {weight} AS w, {seconds} AS t FROM (SELECT {', '.join(inner)} FROM {relation(source)})))"
    ), warnings


def _id_sql(source: Source, column: str) -> str:
    """Ids are text as in the file, less surrounding blanks; whole floats of a Parquet file lose their '.0'."""
    expression = source.sql_of(column)
    if source.form == "parquet" and not source.has_line_column:
        return f"nullif(trim(regexp_replace(CAST({expression} AS VARCHAR), '^(-?[0-9]+)\\.0$', '\\1')), '')" if _is_float(source, column) else trimmed(expression)
    return trimmed(expression)


def _is_float(source: Source, column: str) -> bool:
    with connect(threads=1) as con:
        kind = con.execute(f"SELECT typeof({source.sql_of(column)}) FROM {relation(source)} LIMIT 1").fetchone()
    return bool(kind) and kind[0] in ("FLOAT", "DOUBLE")


def _weight_sql(weights: dict[str, float]) -> tuple[str, bool]:
    """SQL of an event's weight; with no weights given every known word has its default and any other 1."""
    if weights:
        cases = " ".join(f"WHEN {escape(event.strip().lower())} THEN {float(weight)!r}" for event, weight in weights.items())
        return f"CASE lower(et) {cases} END", True
    from .vocabulary import EVENT_WEIGHTS

    exact = " ".join(f"WHEN lower(et) = '{e}' THEN {event_weight(e)!r}" for e in ("pv", "fav", "cart", "buy"))
    cases = " ".join(f"WHEN regexp_matches(et, {escape(pattern)}, 'i') THEN {weight!r}" for pattern, weight in EVENT_WEIGHTS)
    return f"CASE {exact} {cases} ELSE 1.0 END", False


def _bad_rows(batch: Any, at: np.ndarray, reason: np.ndarray, n_before: int, has_line: bool) -> pd.DataFrame:
    import pyarrow as pa

    taken = batch.take(pa.array(at))
    line = taken.column("line").to_numpy(zero_copy_only=False) if taken.column("line").null_count == 0 else np.zeros(len(at))
    return pd.DataFrame(
        {"ordinal": at + n_before, "code": reason, "value": taken.column("bad").to_pylist(), "line": np.asarray(line, dtype=np.int64)}
    )


def _codes(chunks: list[Any]) -> tuple[np.ndarray, Any]:
    """Dictionary-encoded chunks -> (int32 codes, sorted ids as an Arrow string array)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = [chunk for chunk in chunks if len(chunk)]
    if not chunks:
        return np.empty(0, np.int32), pa.array([], pa.string())
    whole = pa.chunked_array(chunks).unify_dictionaries()
    ids = whole.chunk(0).dictionary
    order = pc.sort_indices(ids).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    codes = np.concatenate([rank[chunk.indices.to_numpy()] for chunk in whole.chunks])
    return codes, ids.take(pa.array(order))


def _reader_rejects(con: Any, source: Source) -> pd.DataFrame:
    """Rows DuckDB refused: one per line, with offset, reason, text. Empty for Parquet."""
    empty = pd.DataFrame({"offset": [], "reason": [], "text": []})
    if source.form != "text":
        return empty
    found = con.execute(
        "SELECT line_byte_position - 1 AS o, arg_min(error_type, coalesce(column_idx, 0)), arg_min(error_message, coalesce(column_idx, 0)), "
        "left(any_value(csv_line), 500) FROM reject_errors GROUP BY o ORDER BY o"
    ).fetchall()
    width = len(source.columns)
    rows = []
    for offset, kind, message, text in found:
        text = (text or "").strip("\r\n")
        if "COLUMNS" in kind:
            n = len(text.split(source.delimiter)) if '"' not in text and len(text) < 500 else None
            reason = f"{'too few' if 'MISSING' in kind else 'too many'} columns" + (f" ({n} instead of {width})" if n else "")
        elif "LINE SIZE" in kind:
            reason = "line too long"
        elif "UNTERMINATED" in kind or "QUOTE" in kind.upper():
            reason = "unclosed quote"
        else:
            reason = message.split("\n")[0][:100]
        rows.append((offset, reason, text))
    return pd.DataFrame(rows, columns=["offset", "reason", "text"]) if rows else empty


def _locate_rejects(source: Source, plan: IngestPlan, bad: list[pd.DataFrame], refused: pd.DataFrame) -> pd.DataFrame:
    """All rejected rows with their physical line in the original file, in line order."""
    columns = {role: getattr(plan.columns, role) or "" for role in ("user", "item", "value", "event", "time")}
    judged = pd.concat(bad, ignore_index=True) if bad else pd.DataFrame({"ordinal": [], "code": [], "value": [], "line": []})
    lines = judged["line"].to_numpy(np.int64)
    refused_lines = np.zeros(len(refused), np.int64)
    if source.form == "text" and (len(judged) or len(refused)):
        start = byte_start(source)
        lines, refused_lines = locate(
            source.data_path, start, source.quoted, source.delimiter, judged["ordinal"].to_numpy(np.int64), refused["offset"].to_numpy(np.int64)
        )
        lines, refused_lines = lines + source.skip_lines, refused_lines + source.skip_lines
    frames = [
        pd.DataFrame(
            {
                "line": lines,
                "column": judged["code"].map({code: columns[role] for code, (role, _) in REASONS.items()}).astype("object"),
                "value": judged["value"].astype("object"),
                "reason": judged["code"].map({code: reason for code, (_, reason) in REASONS.items()}).astype("object"),
            }
        ),
        pd.DataFrame({"line": refused_lines, "column": "", "value": refused["text"].astype("object"), "reason": refused["reason"].astype("object")}),
        pd.DataFrame([(r.line, "", r.text, r.reason) for r in source.refused], columns=["line", "column", "value", "reason"]),
    ]
    whole = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True).sort_values("line", kind="stable", ignore_index=True)
    original = [source.original_line(int(line)) for line in whole["line"]] if source.parts else None
    whole["file"] = [name for name, _ in original] if original else (source.member or source.name)
    whole["line"] = [line for _, line in original] if original else whole["line"].astype("int64") + source.line_base * (source.form == "text" or source.has_line_column)
    whole["reason"] = whole["reason"].astype("str")
    return whole
