"""What is odd about a table of items or users: said before a model is trained on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from .columns import LISTS, broken_lists, columns_of, days, numbers
from .fields import MOST_VALUES
from .guessing import Guess, members, rare_below
from .leaks import answers, leak
from .look import Look, VectorLook

if TYPE_CHECKING:
    from ..dataset import Dataset

Looks = Mapping[str, Look | VectorLook]
UNIQUE = 0.95  # different values for each row that has one
FEW_PRESENT = 0.1  # share of the rows
LOOKED_AT = 20_000  # different values
RARE = 0.2  # share of the rows with rare values from which it is said
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """column: its name, "" for the whole table. error: figures would mislead. warning: worth a look. note: good to know."""

    column: str
    severity: Literal["error", "warning", "note"]
    sentence: str
    todo: str = ""

    def plain(self) -> dict[str, str]:
        return asdict(self)


def look_at(table: pd.DataFrame, schema: dict[str, Guess]) -> dict[str, Look | VectorLook]:
    """Every entry of a schema, looked at; columns that became part of a group are not looked at alone."""
    columns, looks = columns_of(table), {}
    for name, what in schema.items():
        group = [one for one in members(what) if one in columns]
        if group:
            looks[name] = VectorLook.at(pd.DataFrame({one: columns[one] for one in group}))
        elif name in columns:
            looks[name] = VectorLook.at(columns[name]) if what.kind == "vector" else Look.at(columns[name])
    return looks


def check_table(
    table: pd.DataFrame,
    data: Dataset | None,
    side: str,
    schema: dict[str, Guess],
    *,
    join: Mapping[str, Any] | None = None,
    looks: Looks | None = None,
) -> list[Finding]:
    """Findings, the gravest first. data: the interactions, for columns that know them. join: how the table met the ids (the ingest
    report's item_join or user_join). looks: what `look_at` gave, where it is there already."""
    looks = look_at(table, schema) if looks is None else looks
    known = answers(data, side) if data is not None and len(data) else {}
    found = _joined(join, side) if join else []
    for name, look in looks.items():
        what = schema[name]
        if isinstance(look, VectorLook):
            found += _vector(name, look)
        else:
            found += _one(name, look, what, known, side)
    found += _same(looks, schema)
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _joined(join: Mapping[str, Any], side: str) -> list[Finding]:
    lost, read, bare, ids = (int(join.get(key) or 0) for key in ("rows_matching_nothing", "rows_read", "ids_without_row", "ids"))
    found = []
    if lost:
        severity = "error" if lost > 0.5 * read else "warning" if lost > 0.1 * read else "note"
        what = f"{lost:,} of {read:,} rows of '{join.get('table')}' have an id ('{join.get('id_column')}') that no interaction has."
        found.append(Finding("", severity, what, "If they should match, write the ids the same way in both files."))
    if bare:
        severity = "warning" if bare > 0.1 * ids else "note"
        found.append(Finding("", severity, f"{bare:,} of {ids:,} {side}s have no row: all their features are missing.", "Add their rows."))
    return found


def _vector(name: str, look: VectorLook) -> list[Finding]:
    found = []
    n, missing = len(look.missing), int(look.missing.sum())
    if missing == n:
        return [Finding(name, "error", "It holds no vectors of numbers, so no model can read it as one.", "Take it for something else.")]
    if look.wrong:
        what = f"{_cells(look.wrong)} no vector of {look.length:,} numbers as the others; they count as missing."
        found.append(Finding(name, "warning", what, "Make all vectors in the same way."))
    if missing > look.wrong and missing > 0.1 * n:
        found.append(Finding(name, "note", f"{missing:,} of {n:,} rows have no vector; that is a value of its own."))
    return found


def _one(name: str, look: Look, what: Guess, known: dict[str, np.ndarray], side: str) -> list[Finding]:
    used, n, present = what.kind not in (None, "id"), len(look), look.n_present
    if present == 0:
        return [Finding(name, "warning" if used else "note", "It is empty.", "Leave it out." if used else "")]
    if len(look.values) == 1 and present == n:
        said = f"It has the same value in every row ('{_short(look.values[0])}')."
        return [Finding(name, "warning" if used else "note", said, "Leave it out: it tells nothing apart." if used else "")]
    if not used:
        return []
    found = _unread(name, look, what)
    if present < FEW_PRESENT * n:
        found.append(Finding(name, "note", f"Only {present:,} of {n:,} rows have a value; nothing there is a value of its own."))
    if what.kind == "categorical":
        found += _categories(name, look)
    if what.kind in ("categorical", "numeric") and known:
        told = leak(name, look, known, (what.settings or {}).get("decimal", "."))
        if told is not None:
            like = f"It goes along with {told.of} ({'rank correlation' if what.kind == 'numeric' else 'likeness'} {told.strength:.2f})"
            if told.named:
                said = f"{like}, and its name says that it counts them: figures may then know the test."
            else:
                said = f"{like}: it was made from the interactions, those of the test among them, so figures would know the test."
            todo = "Leave it out, unless it was known before the interactions it is to foretell."
            found.append(Finding(name, "warning" if told.named else "error", said, todo))
    return found


def _categories(name: str, look: Look) -> list[Finding]:
    n_values, present, rare = len(look.values), look.n_present, rare_below(len(look))
    if n_values > UNIQUE * present:
        said = f"{n_values:,} of {present:,} rows have a value of their own, so it says little but who is who."
        return [Finding(name, "warning", said, "Leave it out, or take it for a text if it is one.")]
    found = []
    shared = np.sort(look.counts[look.counts >= rare])[::-1]
    if len(shared) > MOST_VALUES:
        what = f"It has {n_values:,} different values; the {MOST_VALUES:,} most frequent are told apart, the others count as one."
        found.append(Finding(name, "warning", what, "Group them into fewer, if you can."))
    other = present - int(shared[:MOST_VALUES].sum())
    if other > RARE * present:
        what = f"{other / present:.0%} of the rows have a value that few rows share (fewer than {rare}); these count as one value, 'other'."
        found.append(Finding(name, "note", what, "Group rare values, if you can."))
    return found


def _unread(name: str, look: Look, what: Guess) -> list[Finding]:
    """Cells that are not what their column is; and columns that are part numbers, part words."""
    settings = what.settings or {}
    if what.kind == "numeric":
        bad, noun = ~np.isfinite(look.numbers(settings.get("decimal", "."))), "number that can be used"
    elif what.kind == "date":
        bad = ~np.isfinite(days(pd.Series(look.values, dtype=object), settings.get("day_first", False), settings.get("unit")))
        noun = "date"
    elif what.kind == "multi_valued" and settings.get("separator") == LISTS:
        bad, noun = broken_lists(look.text), "list"
    elif what.kind in ("categorical", "text"):
        share = float(np.isfinite(numbers(look.text.iloc[:LOOKED_AT])).mean())
        if not 0.5 <= share < 1 or len(look.values) < 20:
            return []
        said = f"It mixes types: {share:.0%} of its different values are numbers, the others are not, so it is read as words."
        return [
            Finding(
                name, "warning", said, "If the words stand for nothing there, leave their cells empty and take the column for a number."
            )
        ]
    else:
        return []
    n_bad = int(look.counts[bad].sum())
    if not n_bad:
        return []
    some = ", ".join(f"'{_short(value)}'" for value in look.values[bad][:3])
    fate = "counts as one value" if noun == "list" else "counts as missing"
    said = f"{_cells(n_bad)} no {noun} (such as {some}); what cannot be read {fate}."
    return [Finding(name, "warning", said, "Correct these cells, or take the column for categories.")]


def _same(looks: Looks, schema: dict[str, Guess]) -> list[Finding]:
    """Columns that part the rows in the same way: one can be told from the other."""
    seen: dict[Any, str] = {}
    found = []
    for name, look in looks.items():
        if isinstance(look, VectorLook) or schema[name].kind in (None, "id") or len(look.values) < 2:
            continue
        key: Any = hashlib.blake2b(look.code.tobytes(), digest_size=16).digest()
        if len(look.values) > UNIQUE * look.n_present:  # what differs in every row is the same only if the values are
            key = (key, tuple(look.values))
        if key in seen:
            said = f"It says the same as '{seen[key]}': each value of one stands beside one value of the other."
            found.append(Finding(name, "warning", said, "Leave one of them out."))
        seen.setdefault(key, name)
    return found


def _cells(n: int) -> str:
    return f"{n:,} cell is" if n == 1 else f"{n:,} cells are"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:39] + "…"
