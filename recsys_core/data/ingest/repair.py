"""The slow reader for text whose quotes break the rules, line by line, so that a stray quote costs one row.

Only files that `records.scan` found badly quoted come here: in such a file the end of a record is a
judgement about each line in turn, which no vectorised pass can make. Output is a Parquet file of text
columns and the physical line of every row, plus the rows refused.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_LINES = 200  # a quoted field spanning more lines than this is an unclosed quote
MAX_BYTES = 2_000_000
_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Refused:
    """A row that could not be read: physical line (from 1), reason, beginning of its text."""

    line: int
    reason: str
    text: str


def repair(path: Path, out: Path, *, delimiter: str, n_columns: int, skip_lines: int) -> tuple[int, int, list[Refused]]:
    """Write `out` (columns c0 … and line); gives (rows written, blank lines, rows refused)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([*((f"c{k}", pa.string()) for k in range(n_columns)), ("line", pa.int64())])
    refused: list[Refused] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    n_rows = n_blank = 0
    with pq.ParquetWriter(out, schema) as writer:

        def flush() -> None:
            if rows:
                arrays = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
                writer.write_batch(pa.record_batch([*arrays, pa.array(lines, pa.int64())], schema=schema))
                rows.clear()
                lines.clear()

        for line, fields, problem in _records(path, delimiter, n_columns, skip_lines):
            if fields is None and problem is None:
                n_blank += 1
            elif fields is None:
                refused.append(Refused(line, *problem))
            else:
                rows.append(fields)
                lines.append(line)
                n_rows += 1
                if len(rows) >= _BATCH_ROWS:
                    flush()
        flush()
    return n_rows, n_blank, refused


def _records(path: Path, delimiter: str, width: int, skip_lines: int) -> Iterator[tuple[int, list[str] | None, tuple[str, str] | None]]:
    """(line, fields, None), (line, None, (reason, text)) or, for a blank line, (line, None, None)."""
    with path.open("r", encoding="utf-8", errors="replace", newline="\n") as file:
        pending: list[str] = []  # lines read ahead while a quote was open
        number = 0

        def pull() -> str | None:
            line = pending.pop(0) if pending else file.readline()
            return line or None

        for _ in range(skip_lines):
            number += 1
            pull()
        while (line := pull()) is not None:
            number += 1
            text = line.rstrip("\r\n")
            if not text:
                yield number, None, None
                continue
            if '"' not in text:
                fields = text.split(delimiter)
                yield (number, fields, None) if len(fields) == width else (number, None, (_ragged(len(fields), width), text[:500]))
                continue
            fields, used = _quoted(text, delimiter, width, pull)
            if fields is not None:
                yield number, fields, None
                number += len(used)
                continue
            pending[:0] = used  # give back what was read ahead: only this line is at fault
            literal = text.split(delimiter)
            if text.count('"') % 2 == 0 and len(literal) == width:
                yield number, literal, None
            elif text.count('"') % 2:
                yield number, None, ("unclosed quote", text[:500])
            else:
                yield number, None, (_ragged(len(literal), width), text[:500])


def _quoted(text: str, delimiter: str, width: int, pull) -> tuple[list[str] | None, list[str]]:
    """(fields, lines read ahead) of a record with quotes that follow the rules and fill the columns, else (None, lines)."""
    used: list[str] = []
    while True:
        fields = _strict(text, delimiter)
        if fields is not None:
            return (fields if len(fields) == width else None), used
        if len(used) >= MAX_LINES or len(text) > MAX_BYTES or not _open(text, delimiter):
            return None, used
        line = pull()
        if line is None:
            return None, used
        used.append(line)
        text += "\n" + line.rstrip("\r\n")


def _strict(text: str, delimiter: str) -> list[str] | None:
    try:
        found = list(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return found[0] if len(found) == 1 else None


def _open(text: str, delimiter: str) -> bool:
    """Is a quoted field still open at the end of the text (rather than broken somewhere inside)?"""
    return _strict(text + '"', delimiter) is not None


def _ragged(found: int, width: int) -> str:
    return f"{'too few' if found < width else 'too many'} columns ({found} instead of {width})"
