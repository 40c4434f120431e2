"""The one pass over the rows: DuckDB parses and judges in parallel, ids become codes batch by batch.

Memory: ids that are whole numbers take 8 bytes a row and side until they are codes, other text its own
length and 4; value and time take 12.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ...context import RunContext
from ...errors import WorkbenchError
from .encode import IdEncoder
from .judge import Judge, bad_rows
from .opening import repaired
from .plan import IngestPlan
from .records import locate
from .report import FILTERS, REASONS
from .source import Source, byte_start, unreadable
from .sql import connect, relation, trimmed
from .values import EARLIEST, LARGEST, LATEST, NumberStyle, guess_numbers, number_sql, time_sql

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
    judge = Judge(plan, time_format)
    query, warnings = _query(source, plan, time_format)
    users, items = IdEncoder(), IdEncoder()
    values: list[np.ndarray] = []
    times: list[np.ndarray] = []
    bad: list[pd.DataFrame] = []
    filtered: dict[int, int] = {}
    n_rows = 0
    with connect(ctx.threads) as con:
        for batch in con.sql(query).to_arrow_reader(BATCH_ROWS):
            ctx.report("Reading rows", min(0.99, n_rows / max(1, source.n_records)))
            seen = judge(batch)
            if seen.reason is not None:
                good = np.flatnonzero(seen.reason == 0)
                rejected = np.flatnonzero((seen.reason > 0) & (seen.reason < min(FILTERS)))
                for code in FILTERS:
                    filtered[code] = filtered.get(code, 0) + int((seen.reason == code).sum())
                bad.append(bad_rows(batch, rejected, seen.reason[rejected], n_rows))
                seen = seen.take(good)
            users.add(seen.user)
            items.add(seen.item)
            values.append(seen.value)
            times.append(seen.time)
            n_rows += batch.num_rows
        refused = _reader_rejects(con, source)
    with ThreadPoolExecutor(2) as pool:  # numpy and Arrow leave the interpreter free
        user_codes, item_codes = pool.submit(users.finish), pool.submit(items.finish)
        rejects = _locate_rejects(source, plan, bad, refused)
        (user, user_ids), (item, item_ids) = user_codes.result(), item_codes.result()
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
    return rows, n_rows + len(refused) + len(source.refused)


def _query(source: Source, plan: IngestPlan, time_format: str | None) -> tuple[str, list[str]]:
    """SELECT u, i and, where used, v, vt, t, tt, et, line in file order; and what was assumed of the numbers.

    Only what DuckDB does faster than Arrow and numpy is left to it: parsing and casts. vt and tt are the
    texts of numbers and times that are missing or out of range, NULL elsewhere.
    """
    c = plan.columns
    warnings: list[str] = []
    sample = source.spread_sample(2000)
    inner = [f"{_id_sql(source, c.user)} AS u", f"{_id_sql(source, c.item)} AS i"]
    number, seconds = "NULL", "NULL"
    if plan.uses_value:
        style = guess_numbers(sample[c.value]) or NumberStyle()
        warnings += [style.note] if style.note else []
        inner.append(f"CAST({source.sql_of(c.value)} AS VARCHAR) AS vr")
        number = number_sql("vr", style)
    if time_format:
        raw = f"CAST({source.sql_of(c.time)} AS VARCHAR)"
        inner.append(f"{raw if time_format in ('s', 'ms', 'us') else trimmed(raw)} AS tr")
        seconds = time_sql("tr", time_format, sample[c.time])
    # Columns that would be NULL throughout are left out: they cost as much as any other on the way to Arrow.
    out = ["u", "i"]
    if plan.uses_value:
        limit = " OR v <= 0" if plan.counts else ""
        out += ["CAST(v AS DOUBLE) AS v", f"CASE WHEN v IS NULL OR NOT abs(v) <= {LARGEST}{limit} THEN coalesce(vr, '') END AS vt"]
    if time_format:
        out += ["CAST(t AS BIGINT) AS t", f"CASE WHEN t IS NULL OR t NOT BETWEEN {EARLIEST} AND {LATEST} THEN coalesce(tr, '') END AS tt"]
    if c.event:
        inner.append(f"CAST({source.sql_of(c.event)} AS VARCHAR) AS et")
        out.append("et")
    if source.form == "parquet":
        inner.append(f"CAST({'line' if source.has_line_column else 'file_row_number + 1'} AS BIGINT) AS line")
        out.append("line")
    return (
        f"SELECT {', '.join(out)} FROM (SELECT *, {number} AS v, {seconds} AS t FROM (SELECT {', '.join(inner)} FROM {relation(source)}))"
    ), warnings


def _id_sql(source: Source, column: str) -> str:
    """Ids are text as in the file; whole floats of a Parquet file lose their '.0', so that 7 and 7.0 are one id."""
    text = f"CAST({source.sql_of(column)} AS VARCHAR)"
    return f"regexp_replace({text}, '^(-?[0-9]+)\\.0$', '\\1')" if _is_float(source, column) else text


def _is_float(source: Source, column: str) -> bool:
    if source.form == "text" or source.has_line_column:
        return False
    with connect(threads=1) as con:
        kind = con.execute(f"SELECT typeof({source.sql_of(column)}) FROM {relation(source)} LIMIT 1").fetchone()
    return bool(kind) and kind[0] in ("FLOAT", "DOUBLE")


def _reader_rejects(con: Any, source: Source) -> pd.DataFrame:
    """Rows DuckDB refused: one per line, with offset, reason, text. Empty for Parquet."""
    empty = pd.DataFrame({"offset": [], "reason": [], "text": []})
    if source.form != "text":
        return empty
    found = con.execute(
        "SELECT line_byte_position - 1 AS o, arg_min(error_type, coalesce(column_idx, 0)), "
        "arg_min(error_message, coalesce(column_idx, 0)), left(any_value(csv_line), 500) FROM reject_errors GROUP BY o ORDER BY o"
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
            source.data_path,
            start,
            source.quoted,
            source.delimiter,
            judged["ordinal"].to_numpy(np.int64),
            refused["offset"].to_numpy(np.int64),
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
        pd.DataFrame(
            {"line": refused_lines, "column": "", "value": refused["text"].astype("object"), "reason": refused["reason"].astype("object")}
        ),
        pd.DataFrame([(r.line, "", r.text, r.reason) for r in source.refused], columns=["line", "column", "value", "reason"]),
    ]
    whole = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True).sort_values("line", kind="stable", ignore_index=True)
    original = [source.original_line(int(line)) for line in whole["line"]] if source.parts else None
    whole["file"] = [name for name, _ in original] if original else (source.member or source.name)
    whole["line"] = (
        [line for _, line in original]
        if original
        else whole["line"].astype("int64") + source.line_base * (source.form == "text" or source.has_line_column)
    )
    whole["reason"] = whole["reason"].astype("str")
    return whole
