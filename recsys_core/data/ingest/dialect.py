"""What a text table looks like: separator, quoting, preamble, header. Voted on its first lines."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

from ...errors import DataError
from .vocabulary import names_role

DELIMITERS = ("::", "\t", ";", "|", ",", " ")  # in order of preference when two fit equally well
DELIMITER_NAMES = {"::": "'::'", "\t": "a tab", ";": "';'", "|": "'|'", ",": "','", " ": "a space"}
SAMPLE_LINES = 300
MOST_PREAMBLE = 40  # lines above the header that are looked through
_NUMBER = re.compile(r"^\s*[-+]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?\s*$", re.I)


@dataclass(frozen=True)
class Dialect:
    """delimiter; columns: unique display names; header: is there one; skip_lines: physical lines before the
    first data line; preamble_lines: those of them above the header; notes: what was assumed."""

    delimiter: str
    columns: tuple[str, ...]
    header: bool
    skip_lines: int
    preamble_lines: int
    notes: tuple[str, ...]


def split_records(text: str, delimiter: str, limit: int = SAMPLE_LINES) -> list[tuple[int, list[str]]]:
    """(last physical line, fields) of the first non-blank records; '::' knows no quotes."""
    if len(delimiter) > 1:
        lines = enumerate(text.split("\n"), start=1)
        rows = ((n, line.rstrip("\r").split(delimiter)) for n, line in lines if line.strip("\r"))
        return [row for row, _ in zip(rows, range(limit), strict=False)]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[tuple[int, list[str]]] = []
    try:
        for fields in reader:
            if fields:
                found.append((reader.line_num, fields))
            if len(found) >= limit:
                break
    except csv.Error:  # a field over the limit of the csv module: what was read so far is the sample
        return found
    return found


def sniff(text: str, name: str, *, delimiter: str | None = None, header: bool | None = None) -> Dialect:
    """Judge the first lines (whole lines, "\\n" or CRLF ends). Raises DataError when there is no table."""
    if not text.strip():
        raise DataError(f"'{name}' is empty.", "Give a file with one row for each interaction.")
    chosen = delimiter or _vote(text)
    records = split_records(text, chosen) if chosen else []
    width = _width(records)
    if not chosen or width < 2:
        what = f"with the separator {DELIMITER_NAMES.get(delimiter, repr(delimiter))}" if delimiter else "with any known separator"
        raise DataError(
            f"'{name}' has only one column {what}; at least two are needed: a user and an item, "
            "or in a table of items or users an id and what describes it.",
            "Separate the columns by comma, semicolon, tab, '|' or '::', or choose the separator by hand.",
        )
    at = _first_row(records, width)
    if header is not False:
        at = _header_below(records, at, width)
    first = [cell.strip() for cell in records[at][1]]
    body = [fields for _, fields in records[at + 1 :] if len(fields) == width]
    has_header, why = (header, "") if header is not None else _is_header(first, body)
    notes: list[str] = []
    if header is None:
        line = "The first line" if at == 0 else f"Line {records[at][0]}"
        notes.append(f"{line} was taken as {'column names' if has_header else 'data: the file seems to have no header'} ({why}).")
    above = records[at - 1][0] if at else 0
    if at:
        text_above = _shorten(next((c for _, fields in records[:at] for c in fields if c.strip()), ""))
        what = "header" if has_header else "table"
        notes.append(f"{_lines(above)} above the {what} left out, not counted as rows" + (f": '{text_above}'." if text_above else "."))
    if has_header:
        columns, more = _names(first, width, body)
        notes += more
        return Dialect(chosen, columns, True, records[at][0], above, tuple(notes))
    return Dialect(chosen, tuple(f"column_{k + 1}" for k in range(width)), False, above, above, tuple(notes))


def _lines(n: int) -> str:
    return "1 line" if n == 1 else f"{n} lines"


def _shorten(text: str, most: int = 60) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _vote(text: str) -> str | None:
    """The separator under which most records have the same number (two or more) of fields."""
    best: tuple[float, int, int] | None = None
    winner = None
    for rank, delimiter in enumerate(DELIMITERS):
        if delimiter not in text:
            continue
        records = split_records(text, delimiter)
        counts = Counter(len(fields) for _, fields in records)
        width = _width(records)
        if width < 2:
            continue
        # The last record of the sample may be cut; the first may be a preamble: neither decides.
        share = counts[width] / len(records)
        named = delimiter != " " and any(names_role(c.strip()) for c in records[0][1]) and len(records[0][1]) == width
        score = (round(share, 1) - (0.25 if delimiter == " " else 0) + 0.1 * named, width, -rank)
        if best is None or score > best:
            best, winner = score, delimiter
    return winner


def _width(records: list[tuple[int, list[str]]]) -> int:
    """The number of fields most records have; of equally frequent ones the larger."""
    counts = Counter(len(fields) for _, fields in records)
    return max(counts, key=lambda n: (counts[n] if n > 1 else counts[n] * 0.5, n)) if counts else 0


def _first_row(records: list[tuple[int, list[str]]], width: int) -> int:
    """Position of the header or first data record: what stands above it is preamble."""
    at = next(k for k, (_, fields) in enumerate(records) if len(fields) == width)
    if at and len(records[at - 1][1]) in (width - 1, width + 1) and len(records[at - 1][1]) > 1:
        cells = records[at - 1][1]
        if any(names_role(c) for c in cells) or not any(_NUMBER.match(c) for c in cells):
            return at - 1
    # A ragged first data row is not a preamble: preambles hold few fields.
    return 0 if at > 0 and len(records[0][1]) > 1 and _looks_like_row(records[0][1], records[at][1]) else at


def _header_below(records: list[tuple[int, list[str]]], at: int, width: int) -> int:
    """Position of the header when what stands at `at` is a preamble as wide as the table (spreadsheets fill a title line
    up with separators), or one field narrower; else `at`.

    A header below must be sure: no numbers, more filled cells and more known names than every line above it, and no
    cell that comes again further down. Otherwise the first row of a file without header could be lost.
    """
    filled = [sum(bool(c.strip()) for c in fields) for _, fields in records[: MOST_PREAMBLE + 1]]
    named = [sum(map(names_role, fields)) for _, fields in records[: MOST_PREAMBLE + 1]]
    for k in range(at + 1, len(filled)):
        cells = [c.strip() for c in records[k][1]]
        if filled[k - 1] > max(width - 1, 1):
            return at  # a full line is the header or data: nothing below it is a header
        if len(cells) != width or filled[k] <= max(filled[at:k]) or any(_NUMBER.match(c) for c in cells):
            continue
        body = [fields for _, fields in records[k + 1 :] if len(fields) == width]
        recurs = any(row[c].strip() == cell for row in body for c, cell in enumerate(cells) if cell)
        above_numbers = max(filled[at:k]) <= width // 2 and not any(named[at:k]) and _numeric_column(body, width)
        if not recurs and (named[k] > max(named[at:k]) or above_numbers):
            return k
    return at


def _numeric_column(body: list[list[str]], width: int) -> bool:
    return bool(body) and any(sum(bool(_NUMBER.match(row[c])) for row in body) / len(body) > 0.8 for c in range(width))


def _looks_like_row(cells: list[str], row: list[str]) -> bool:
    numeric = [bool(_NUMBER.match(c)) for c in cells]
    return any(numeric) and numeric[: len(row)] == [bool(_NUMBER.match(c)) for c in row][: len(numeric)]


def _is_header(first: list[str], body: list[list[str]]) -> tuple[bool, str]:
    cells = [c.lstrip("#").strip() for c in first]
    if any(_NUMBER.match(c) for c in cells):
        return False, "it holds numbers"
    if sum(names_role(c) for c in cells) >= 1:
        return True, "it holds words like user, item or rating"
    if not body:
        return True, "it holds no numbers"
    if _numeric_column(body, min(len(cells), len(body[0]))):
        return True, "it holds words above columns of numbers"
    recurring = sum(any(row[k].strip() == cell for row in body) for k, cell in enumerate(cells[: len(body[0])]) if cell)
    if recurring:
        return False, "its values come again further down"
    return True, "its values come nowhere else"


def _names(first: list[str], width: int, body: list[list[str]]) -> tuple[tuple[str, ...], list[str]]:
    """Unique names for `width` columns from a header that may be short, long, blank or repeated."""
    notes: list[str] = []
    cells = list(first)
    if cells and cells[0].startswith("#"):
        cells[0] = cells[0].lstrip("#").strip()
    if len(cells) == width - 1:
        if body and all(not row[-1].strip() for row in body):
            cells.append("")
            notes.append("Every row ends with a separator; the empty last column is not used.")
        else:
            cells.insert(0, "row")
            notes.append("The header has one name less than there are columns: the first column was taken as row names.")
    cells = (cells + [""] * width)[:width]
    unique: list[str] = []
    taken: set[str] = set()
    for k, cell in enumerate(cells):
        base = cell or f"column_{k + 1}"
        name, n = base, 1
        while name in taken:
            n += 1
            name = f"{base}_{n}"
        taken.add(name)
        unique.append(name)
    repeated = [c for c, n in Counter(c for c in cells if c).items() if n > 1]
    if repeated:
        notes.append(f"The header names {', '.join(repr(c) for c in repeated[:3])} more than once; the later ones got a number.")
    return tuple(unique), notes
