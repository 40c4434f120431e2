"""Vectors of numbers in any form they come in: lists, arrays, "[0.1, 0.2]", "0.1 0.2", numbered columns."""

from __future__ import annotations

import re
from itertools import chain

import numpy as np
import pandas as pd

from .columns import LARGEST, MISSING, numbers

FEWEST_COLUMNS = 8  # numbered columns of numbers that are taken for one vector
LONG = 16  # lists of at least as many numbers, all of one length, are vectors even if the numbers are whole
BROKEN = 0.25  # share of the numbers of vectors, at least, that are not whole
AT_ONCE = 4_096  # texts whose numbers are strings in memory at a time
LOOKED_AT = 1_000  # cells that settle what a column holds
_NUMBERED = re.compile(r"^(.*?)(\d{1,6})([\])}]?)$")
_MARKS = r"[,;\s]+"


def read_vectors(column: pd.Series, length: int | None = None) -> tuple[np.ndarray, int]:
    """(float64 (n, length), NaN where there is no number; how many cells hold something else, which are all NaN).

    length None: the one most cells have. Numbers that cannot be read, infinities and those beyond LARGEST are NaN.
    """
    cells = column.reset_index(drop=True).astype(object)
    text = np.fromiter((isinstance(cell, str) for cell in cells), bool, len(cells))
    lists = np.fromiter((isinstance(cell, list | tuple | np.ndarray) for cell in cells), bool, len(cells))
    other = int((~text & ~lists & cells.notna().to_numpy()).sum())
    found = [_of_texts(cells[text]), _of_lists(cells[lists])]
    if length is None:
        lengths = np.concatenate([counts for _, counts, _ in found])
        length = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    out, present = np.full((len(cells), length), np.nan), np.zeros(len(cells), dtype=bool)
    for flat, counts, rows in found:
        present[rows] = True
        fits = counts == length
        out[rows[fits]] = flat[np.repeat(fits, counts)].reshape(-1, length)
    out[~(np.abs(out) < LARGEST)] = np.nan
    return out, other + int((present & ~np.isfinite(out).any(1)).sum())


def _of_texts(texts: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(numbers one after the other, how many of each cell, its row); cells with nothing in them are passed over."""
    bare = texts.str.strip().str.strip("[](){} ").str.replace(_MARKS, " ", regex=True).str.strip()
    bare = bare[~bare.str.lower().isin(MISSING)] if len(bare) else bare
    if not len(bare):
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    counts = bare.str.count(" ").to_numpy(np.int64) + 1
    parts = [bare.iloc[start : start + AT_ONCE] for start in range(0, len(bare), AT_ONCE)]
    flat = [pd.to_numeric(pd.Series(" ".join(part).split(" "), dtype=object), errors="coerce").to_numpy(np.float64) for part in parts]
    return np.concatenate(flat), counts, bare.index.to_numpy()


def _of_lists(cells: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_of_texts`."""
    lists = [cell.ravel() if isinstance(cell, np.ndarray) else cell for cell in cells]
    counts = np.fromiter(map(len, lists), np.int64, len(lists))
    rows, full = cells.index.to_numpy(), counts > 0
    if not full.any():
        return np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)
    try:
        flat = np.concatenate([one for one in lists if len(one)]).astype(np.float64)
    except (ValueError, TypeError, OverflowError):  # a word, a None or a list among the numbers
        flat = np.array([_number(part) for part in chain.from_iterable(lists)], dtype=np.float64)
    if len(flat) != counts.sum():  # lists of lists
        flat = np.full(counts.sum(), np.nan)
    return flat.ravel(), counts[full], rows[full]


def _number(part: object) -> float:
    try:
        return float(part)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return np.nan


def holds_vectors(column: pd.Series) -> str | None:
    """ "yes" where nearly all cells are lists of numbers, mostly broken ones, and at least half have one length; "uneven" where they
    have no common length; None where they are something else (lists of whole numbers may be lists of ids)."""
    if column.dtype != object and not pd.api.types.is_string_dtype(column.dtype) and str(column.dtype)[:4] not in ("list", "larg"):
        return None
    cells = column.dropna().astype(object).iloc[:LOOKED_AT].reset_index(drop=True)
    lists = cells.map(lambda cell: isinstance(cell, list | tuple | np.ndarray)).astype(bool)
    texts = cells[cells.map(lambda cell: isinstance(cell, str)).astype(bool)]
    bracketed = texts[texts.str.strip().str.startswith("[")] if len(texts) else texts
    plain_text = len(bracketed) < 0.5 * len(texts)
    flat, counts = (np.concatenate(both) for both in zip(_of_texts(texts)[:2], _of_lists(cells[lists])[:2], strict=True))
    if not len(counts) or len(texts) + lists.sum() < 0.9 * len(cells) or np.isfinite(flat).mean() < 0.9:
        return None
    known = flat[np.isfinite(flat)]
    common = int(np.bincount(counts).argmax())
    even = (counts == common).mean()
    if plain_text and (common < 4 or even < 0.9):  # "0.1 0.2 0.3 0.4" without brackets needs more proof
        return None
    if common < 2 and counts.max() < 2:
        return None
    broken = bool((known % 1 != 0).mean() > BROKEN)
    if not broken and not (common >= LONG and even >= 0.9):
        return None
    return "yes" if even >= 0.5 and common > 1 else "uneven"


def numbered_groups(columns: dict[str, pd.Series]) -> dict[str, list[str]]:
    """ "emb_*" -> ["emb_0", …, "emb_63"]: columns with one stem, numbered without a gap, that hold broken numbers."""
    stems: dict[str, dict[int, str]] = {}
    for name in columns:
        found = _NUMBERED.match(name.strip())
        if found and found[1].strip():
            stems.setdefault(f"{found[1]}*{found[3]}", {}).setdefault(int(found[2]), name)
    groups = {}
    for stem, members in stems.items():
        numbers_of = sorted(members)
        if len(members) < FEWEST_COLUMNS or numbers_of[-1] - numbers_of[0] + 1 != len(members):
            continue
        names = [members[number] for number in numbers_of]
        if all(_broken_numbers(columns[name]) for name in names):
            while stem in columns:
                stem += "*"
            groups[stem] = names
    return groups


def _broken_numbers(column: pd.Series) -> bool:
    cells = column.dropna().iloc[:LOOKED_AT]
    if not len(cells) or pd.api.types.is_bool_dtype(cells.dtype) or pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return False
    known = numbers(cells)
    known = known[np.isfinite(known)]
    return len(known) >= 0.95 * len(cells) and bool((known % 1 != 0).mean() > BROKEN)
