"""What a list is made from, as it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import BadInput
from ...portable.bundle import Bundle
from ...portable.history import History
from .records import Filters, Path, check_id


@dataclass(frozen=True, eq=False)
class Asked:
    """known: what of the history the model knows. later: codes of items in it that came after training; chosen: those of them that are
    liked. skips: codes not to be shown. unknown: ids nobody knows. code: of a training user where nothing came since that the model
    could use. trained: how many entries of `known`, the first ones, are of training. somebody: a user or a history was asked for."""

    known: History
    later: Sequence[int]
    chosen: Sequence[int]
    skips: Sequence[int]
    unknown: list[str]
    code: int
    trained: int = 0
    somebody: bool = True

    def leave_out(self, scores: np.ndarray, *, seen: bool = True) -> None:
        """Take what must not be shown out of the running, in place: skipped items, and those of the history."""
        if seen:
            scores[self.known.items] = -np.inf
        gone = (*self.later, *self.skips) if seen else self.skips
        scores[[code for code in gone if code < len(scores)]] = -np.inf


def given_history(bundle: Bundle, history: Sequence[str], values: Sequence[float] | None) -> tuple[History, list[str]]:
    """(history by codes, ids that are not known). Raises BadInput for what is no history."""
    if isinstance(history, str):
        raise BadInput("A history is a list of item ids; got one text.", "Send a list.")
    for item in history:
        check_id(item, "item")
    if values is not None and len(values) != len(history):
        raise BadInput(f"values must give one number for every item of the history; got {len(values)} for {len(history)}.", "Send as many.")
    codes = bundle.items.encode(history)
    try:
        numbers = np.full(len(codes), bundle.scale.like) if values is None else np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise BadInput("Values must be numbers.", "Send finite numbers.")
    known = codes >= 0
    numbers = bundle.scale.held(numbers)
    return History.of(codes[known], numbers[known]), [item for item, there in zip(history, known, strict=True) if not there]


def notes_of(asked: Asked, path: Path, found: int, k: int, filters: Filters | None) -> tuple[str, ...]:
    """What whoever reads the list should know of it."""
    if path != "popular" and found == k and not asked.unknown:
        return ()
    notes = []
    if path == "popular":
        several = len(asked.known) + len(asked.later)
        notes.append("Nothing is known to go by; this is what is popular now." if not several else
                     "What is known says nothing of what is liked; this is what is popular now.")  # fmt: skip
    if asked.unknown:
        number = len(asked.unknown)
        notes.append("One item is not known and was left out." if number == 1 else f"{number} items are not known and were left out.")
    if found < k:
        notes.append(f"Only {found} items {'pass the filters and are new to the user' if filters else 'are left'}.")
    return tuple(notes)
