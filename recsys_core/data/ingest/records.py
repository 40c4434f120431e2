"""Where records start in a text file, found by vectorised passes in bounded memory.

DuckDB tells neither the physical line of a good row nor, after quoted newlines, that of a bad one. So
records are counted and located here, independently: a newline ends a record when the number of quotes
before it is even. That holds exactly when every quote opens or closes a field, which `scan` checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK_BYTES = 1 << 23
_LF, _CR, _QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Scan:
    """n_records: non-blank records; n_blank: blank lines; well_quoted: quotes only open, close or double."""

    n_records: int
    n_blank: int
    well_quoted: bool


@dataclass(frozen=True)
class _Block:
    starts: np.ndarray  # absolute offsets of the non-blank records that start in the block
    lines: np.ndarray  # their physical line numbers, from 1 at the start of the walk
    n_blank: int
    well_quoted: bool


def _line_blocks(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """(absolute offset, bytes) of blocks that end with a newline (the last one may not)."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        offset, held = start, b""
        while block := file.read(BLOCK_BYTES):
            cut = block.rfind(b"\n") + 1
            if not cut:
                held += block
                continue
            whole = held + block[:cut]
            yield offset, whole
            offset, held = offset + len(whole), block[cut:]
        if held:
            yield offset, held


def _walk(path: Path, start: int, quoted: bool, delimiter: str) -> Iterator[_Block]:
    line, open_quotes, fresh = 1, 0, True  # fresh: the block starts outside a record
    last_byte = _LF
    delimiter_end, delimiter_start = delimiter.encode()[-1], delimiter.encode()[0]
    for offset, block in _line_blocks(path, start):
        data = np.frombuffer(block, dtype=np.uint8)
        newlines = np.flatnonzero(data == _LF)
        well = True
        if quoted and (open_quotes or b'"' in block):
            quotes = np.flatnonzero(data == _QUOTE)
            inside = (np.searchsorted(quotes, newlines) + open_quotes) & 1
            ends = newlines[inside == 0]
            well = _check_quotes(data, quotes, open_quotes, last_byte, delimiter_end, delimiter_start)
            open_quotes = (open_quotes + len(quotes)) & 1
        else:
            ends = newlines
        closed = ends[-1] == len(data) - 1 if len(ends) else False
        starts = np.concatenate([[0], ends + 1]) if fresh else ends + 1
        stops = np.concatenate([ends, [len(data)]])[0 if fresh else 1 :]
        if closed:
            starts, stops = starts[:-1], stops[:-1]
        length = stops - starts
        blank = (length == 0) | ((length == 1) & (data[np.minimum(starts, len(data) - 1)] == _CR))
        kept = starts[~blank]
        yield _Block(kept + offset, np.searchsorted(newlines, kept) + line, int(blank.sum()), well)
        line += len(newlines)
        fresh = closed
        last_byte = int(data[-1])
    if open_quotes:
        yield _Block(np.empty(0, np.int64), np.empty(0, np.int64), 0, False)


def _check_quotes(data: np.ndarray, quotes: np.ndarray, parity: int, last_byte: int, delimiter_end: int, delimiter_start: int) -> bool:
    """Does every opening quote follow a separator or line end (or a quote just closed), and every closing one precede one?"""
    opening = quotes[parity::2]
    before = np.where(opening > 0, data[np.maximum(opening - 1, 0)], last_byte)
    closing = quotes[1 - parity :: 2]
    after = np.where(closing < len(data) - 1, data[np.minimum(closing + 1, len(data) - 1)], _LF)
    fine_before = (before == delimiter_end) | (before == _LF) | (before == _QUOTE)
    fine_after = (after == delimiter_start) | (after == _LF) | (after == _CR) | (after == _QUOTE)
    if not (fine_before.all() and fine_after.all()):
        return False
    # A quote before an opening one must be the one that just closed: '""' inside a field, not 'a""b' outside.
    reopened = opening[before == _QUOTE]
    return bool(np.isin(reopened - 1, closing).all()) if len(reopened) else True


def scan(path: Path, start: int, quoted: bool, delimiter: str) -> Scan:
    """Count records and blank lines from byte `start` on."""
    if not quoted:
        return _scan_lines(path, start)
    n_records = n_blank = 0
    well = True
    for block in _walk(path, start, quoted, delimiter):
        n_records += len(block.starts)
        n_blank += block.n_blank
        well &= block.well_quoted
    return Scan(n_records, n_blank, well)


def _scan_lines(path: Path, start: int) -> Scan:
    """The same without quotes: counting newlines is enough, blank lines are looked for only where there are some."""
    n_lines = n_blank = 0
    for _, block in _line_blocks(path, start):
        n_lines += block.count(b"\n") + (not block.endswith(b"\n"))
        if b"\n\n" in block or b"\n\r\n" in block or block.startswith((b"\n", b"\r\n")):
            data = np.frombuffer(block, dtype=np.uint8)
            ends = np.flatnonzero(data == _LF)
            starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else np.empty(0, np.int64)
            length = ends - starts
            n_blank += int(((length == 0) | ((length == 1) & (data[starts] == _CR))).sum())
    return Scan(n_lines - n_blank, n_blank, True)


def locate(
    path: Path, start: int, quoted: bool, delimiter: str, ordinals: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Physical line numbers (from 1 at byte `start`) of two kinds of records.

    offsets: sorted byte positions at or just before records the reader refused. ordinals: sorted numbers
    (from 0) of good rows, counted over the records that were not refused. Gives (lines of ordinals,
    lines of offsets), 0 where there is no such record.
    """
    good_lines, bad_lines = np.zeros(len(ordinals), np.int64), np.zeros(len(offsets), np.int64)
    n_good = next_good = next_bad = 0
    for block in _walk(path, start, quoted, delimiter):
        upto = int(np.searchsorted(offsets, block.starts[-1], side="right")) if len(block.starts) else next_bad
        at = np.searchsorted(block.starts, offsets[next_bad:upto])
        bad_lines[next_bad:upto] = block.lines[at]
        next_bad = upto
        lines = np.delete(block.lines, at)
        stop = int(np.searchsorted(ordinals, n_good + len(lines)))
        good_lines[next_good:stop] = lines[ordinals[next_good:stop] - n_good]
        n_good, next_good = n_good + len(lines), stop
    return good_lines, bad_lines
