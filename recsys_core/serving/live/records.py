"""What is asked of a predictor and what it answers, as plain records with external ids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...errors import BadInput

LIKES = ("click", "view", "like", "purchase")  # each a plain like on the scale of the data
EVENTS = (*LIKES, "dislike", "skip", "rating")
MOST_K, MOST_ID = 1_000, 512
MOST_COLUMNS, MOST_TEXT, MOST_SECONDS = 100, 10_000, 1e11

Path = Literal["model", "fold-in", "content", "popular"]
PATHS: dict[Path, str] = {
    "model": "what training learnt of this user",
    "fold-in": "the model's answer to a history",
    "content": "items like those chosen, by their columns",
    "popular": "what is popular now",
}


@dataclass(frozen=True)
class Answer:
    """items: best first. path: how the list came about (`PATHS`). model_ms: time spent on it, without HTTP. bundle: the first 12 digits of
    the fingerprint. unknown: items it was asked with and does not know. notes: sentences."""

    items: tuple[str, ...]
    scores: tuple[float, ...]
    path: Path
    model_ms: float = 0.0
    bundle: str = ""
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Receipt:
    """Of an event. stored: it is in the log on disk (else in memory, and `note` says why). offset: its place in the log, -1 without one."""

    stored: bool
    note: str = ""
    offset: int = -1


@dataclass(frozen=True)
class Reasons:
    """Why an item: parts are (item of the history, what it adds to the score), best first, and add up to `total` where `exact`. models:
    of a fused model, (its part, what that part brought)."""

    item: str
    parts: tuple[tuple[str, float], ...]
    total: float
    exact: bool
    method: str
    path: Path
    models: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Filters:
    """include: column -> values of which an item must have one (cells may hold several, parted by "|"). at_least, at_most: column ->
    number. exclude: items that may not appear; only: the only items that may."""

    include: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    at_most: Mapping[str, float] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    only: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, values in self.include.items():
            if isinstance(values, str) or not isinstance(values, Sequence):
                raise BadInput(f"The allowed values of '{str(name)[:60]}' must be a list; got {str(values)[:40]!r}.", "Send a list.")
        for bounds in (self.at_least, self.at_most):
            for name, bound in bounds.items():
                if not _number(bound):
                    raise BadInput(f"The bound of '{str(name)[:60]}' must be a number; got {str(bound)[:40]!r}.", "Send a number.")
        for said, items in (("exclude", self.exclude), ("only", self.only or ())):
            if isinstance(items, str) or any(not isinstance(item, str) for item in items):
                raise BadInput(f"'{said}' must be a list of item ids.", "Send text ids in a list.")

    @property
    def key(self) -> tuple[Any, ...]:
        """Hashable, the same for the same filters."""
        include = tuple(sorted((name, tuple(sorted(map(str, values)))) for name, values in self.include.items()))
        bounds = tuple(tuple(sorted(side.items())) for side in (self.at_least, self.at_most))
        return include, bounds, tuple(sorted(self.exclude)), None if self.only is None else tuple(sorted(self.only))


@dataclass(frozen=True)
class Context:
    """time: UTC seconds of the request. item: what is looked at right now, taken as the newest entry of the history for this answer."""

    time: float | None = None
    item: str | None = None

    def __post_init__(self) -> None:
        if self.time is not None and not _moment(self.time):
            raise BadInput(f"The time of a request is in seconds since 1970; got {str(self.time)[:40]}.", "Leave it out for now.")
        if self.item is not None:
            check_id(self.item, "item")


@dataclass(frozen=True)
class Event:
    """One line of the log. value: of a rating; time: UTC seconds; features: columns of an item that is new. hit: whether the item was on
    the list its user would have been given a moment before, by the bundle `by` (digits of its fingerprint); None: not looked at."""

    user: str
    item: str
    event: str
    value: float | None = None
    time: float = 0.0
    features: Mapping[str, Any] | None = None
    hit: bool | None = None
    by: str = ""

    def checked(self) -> Event:
        """Itself; raises BadInput with the rule that is broken."""
        if self.event not in EVENTS:
            raise BadInput(f"An event is one of {', '.join(EVENTS)}; got '{str(self.event)[:40]}'.", "Name one of them.")
        check_id(self.user, "user")
        check_id(self.item, "item")
        if self.event == "rating" and not _number(self.value):
            raise BadInput("A rating needs a value, which is a number.", "Send value with it, or use like and dislike.")
        if self.value is not None and not _number(self.value):
            raise BadInput(f"The value of an event is a number; got {str(self.value)[:40]}.", "Leave it out or send a number.")
        if not _moment(self.time):
            raise BadInput(f"The time of an event is in seconds since 1970; got {str(self.time)[:40]}.", "Leave it out for now.")
        if self.features is not None:
            _check_features(self.features)
        return self


def cell_text(cell: Any) -> str:
    """A cell as it is compared: 3.0 is "3"."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def check_id(value: Any, what: str) -> None:
    """Ids are text of 1 to 512 characters that can be written down."""
    if not isinstance(value, str) or not value or len(value) > MOST_ID:
        raise BadInput(f"An id of a {what} is text of 1 to {MOST_ID} characters.", f"Check the {what} you sent.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInput(f"The id of the {what} is no valid text.", "Send it as UTF-8.") from None


def check_k(k: int) -> int:
    """The rule for the length of a list."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_K:
        raise BadInput(f"k is a whole number from 1 to {MOST_K}; got {str(k)[:40]}.", "Ask for a list of such a length.")
    return k


def _check_features(features: Any) -> None:
    """Columns of an item: names and plain values that JSON can say."""
    if not isinstance(features, Mapping) or len(features) > MOST_COLUMNS:
        raise BadInput(f"features are at most {MOST_COLUMNS} columns with a value each.", "Send an object like {'genre': 'Drama|War'}.")
    for name, cell in features.items():
        plain = cell is None or isinstance(cell, (str, bool)) or _number(cell)
        if not isinstance(name, str) or not plain or len(name) > MOST_ID or (isinstance(cell, str) and len(cell) > MOST_TEXT):
            rule = f"A column of an item has a name and text of at most {MOST_TEXT:,} characters or a number; got {str(name)[:40]!r}."
            raise BadInput(rule, "Send text or numbers.")


def _number(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _moment(value: Any) -> bool:
    return _number(value) and 0 <= value <= MOST_SECONDS
