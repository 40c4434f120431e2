"""Which column plays which role, how times are written, what kind of feedback it is: a suggestion with reasons."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from ...errors import DataError
from .feedback import guess_feedback, sane
from .guard import guarded
from .plan import Columns
from .source import Source
from .sql import connect, relation, trimmed
from .values import TimeGuess, guess_numbers, guess_time, samples
from .vocabulary import PRICE_NAMES, RATING_NAMES, ROLES, event_weight, name_score

SAMPLE_ROWS = 5000
MAX_EVENT_TYPES = 50


@dataclass(frozen=True)
class RoleGuess:
    """column: None when no column plays the role. reason: why, in words. samples: up to five values."""

    column: str | None
    reason: str
    samples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Guess:
    """A suggested reading of a file. first_time / last_time: of the rows looked at, ISO text or None."""

    roles: dict[str, RoleGuess]
    time_format: str
    time_note: str
    first_time: str | None
    last_time: str | None
    feedback: str
    feedback_reason: str
    value_is: str
    threshold: float | None
    events: dict[str, int]
    event_weights: dict[str, float]
    samples: dict[str, list[str]]
    notes: list[str]

    @property
    def columns(self) -> Columns:
        """The guessed columns. Raises DataError when user or item is missing."""
        found = {role: self.roles[role].column for role in ROLES}
        if not found["user"] or not found["item"]:
            raise DataError("No user and item column could be told apart.", "Choose the columns by hand.")
        return Columns(**found)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Column:
    """What the content of a column tells."""

    name: str
    position: int
    filled: float
    distinct: int
    n: int
    numeric: bool
    whole: bool
    low: float
    high: float
    time: TimeGuess | None
    mean_length: float
    event_words: float

    @property
    def id_like(self) -> bool:
        return self.filled > 0.5 and self.distinct > 1 and self.mean_length < 60 and (self.whole or not self.numeric) and self.time is None


@guarded
def guess_columns(source: Source) -> Guess:
    """Suggest the roles of a source's columns from their names and contents."""
    frame = source.spread_sample(SAMPLE_ROWS)
    profile = [_profile(frame, name, k) for k, name in enumerate(source.columns)]
    scores = {role: {c.name: name_score(c.name, role) if source.header else 0.0 for c in profile} for role in ROLES}
    chosen: dict[str, RoleGuess] = {}
    free = {c.name: c for c in profile}

    def take(role: str, column: _Column | None, reason: str) -> None:
        chosen[role] = RoleGuess(column.name if column else None, reason, samples(frame[column.name]) if column else [])
        if column:
            free.pop(column.name, None)

    # Surest first: a name that says "movieId" must not be taken as the user because it comes first.
    take("time", *_time(free, scores["time"]))
    for role in sorted(("user", "item"), key=lambda r: -max(scores[r].values(), default=0)):
        take(role, *_by_name(free, scores[role], scores, role))
    take("event", *_event(free, scores["event"]))
    _fill_ids(chosen, free, take)
    take("value", *_value(free, scores["value"], chosen["event"].column is not None))
    time_format, time_note, first, last, notes = _times(chosen["time"].column, frame)
    events, weights, more = _events(source, chosen["event"].column)
    notes += more
    feedback, why, value_is, threshold = guess_feedback(chosen["value"].column, frame, bool(events))
    return Guess(
        roles={role: chosen[role] for role in ROLES},
        time_format=time_format,
        time_note=time_note,
        first_time=first,
        last_time=last,
        feedback=feedback,
        feedback_reason=why,
        value_is=value_is,
        threshold=threshold,
        events=events,
        event_weights=weights,
        samples={name: samples(frame[name]) for name in source.columns},
        notes=notes,
    )


def _profile(frame: pd.DataFrame, name: str, position: int) -> _Column:
    text = frame[name].dropna()
    style = guess_numbers(text)
    numbers = sane(pd.to_numeric(text, errors="coerce"))
    plain = len(numbers) > 0.8 * len(text) and len(text) > 0
    unique = text.drop_duplicates()
    words = [event_weight(v) is not None for v in unique.head(MAX_EVENT_TYPES)]
    time = guess_time(text) if len(text) else None
    if time is not None and time.format == "iso" and plain and "YYYYMMDD" not in time.note:
        time = None
    return _Column(
        name=name,
        position=position,
        filled=len(text) / max(1, len(frame)),
        distinct=len(unique),
        n=len(text),
        numeric=style is not None,
        whole=plain and bool((numbers % 1 == 0).all()),
        low=float(numbers.min()) if len(numbers) else 0.0,
        high=float(numbers.max()) if len(numbers) else 0.0,
        time=time,
        mean_length=float(text.str.len().mean()) if len(text) else 0.0,
        event_words=sum(words) / len(words) if words else 0.0,
    )


def _time(free: dict[str, _Column], names: dict[str, float]) -> tuple[_Column | None, str]:
    readable = [c for c in free.values() if c.time is not None]
    named = [c for c in readable if names[c.name] > 0.5]
    if named:
        best = max(named, key=lambda c: (names[c.name], -c.position))
        return best, f"its name and its values: {best.time.note[0].lower()}{best.time.note[1:]}"
    positions = [c for c in free.values() if names[c.name] > 0.8 and c.whole and c.low >= 0]
    if positions:
        return max(positions, key=lambda c: names[c.name]), "its name; the numbers look like positions rather than dates"
    # An id may be as large as a Unix time: without a name the column must vary like a time.
    varied = [c for c in readable if c.distinct > 0.2 * c.n or not c.whole]
    if varied:
        best = max(varied, key=lambda c: c.position)
        return best, f"its values: {best.time.note[0].lower()}{best.time.note[1:]}"
    return None, "no column holds times"


def _by_name(
    free: dict[str, _Column], names: dict[str, float], scores: dict[str, dict[str, float]], role: str
) -> tuple[_Column | None, str]:
    rival = "item" if role == "user" else "user"
    fitting = [c for c in free.values() if names[c.name] >= 0.5 and names[c.name] >= scores[rival][c.name] and c.filled > 0]
    if not fitting:
        return None, "no name or content points to it"
    best = max(fitting, key=lambda c: (names[c.name], -c.position))
    return best, f"its name reads like {'a user' if role == 'user' else 'an item'}"


def _event(free: dict[str, _Column], names: dict[str, float]) -> tuple[_Column | None, str]:
    few = [c for c in free.values() if not c.numeric and 1 <= c.distinct <= MAX_EVENT_TYPES and c.n and c.mean_length < 40]
    named = [
        c
        for c in few
        if names[c.name] >= 0.5
        and c.distinct < max(3, c.n // 2)
        and (c.event_words > 0.3 or names[c.name] > 0.95 and c.name.lower() != "type")
    ]
    if named:
        return max(named, key=lambda c: names[c.name]), "its name, and it has few different values"
    spoken = [c for c in few if c.event_words >= 0.6 and c.distinct <= 20 and c.distinct < max(3, c.n // 2)]
    return (
        (max(spoken, key=lambda c: c.event_words), "its values are words like view or purchase")
        if spoken
        else (None, "no column holds event types")
    )


def _fill_ids(chosen: dict[str, RoleGuess], free: dict[str, _Column], take: Any) -> None:
    """User and item where names say nothing: the id-like columns in order, user first."""
    for role in ("user", "item"):
        if chosen[role].column is not None:
            continue
        ids = [c for c in free.values() if c.id_like and not _rating_like(c)]
        ids = ids or [c for c in free.values() if c.filled > 0.5 and c.distinct > 1 and c.time is None and (c.whole or not c.numeric)]
        ids = ids or [c for c in free.values() if c.filled > 0 and c.time is None]
        # A column of row numbers (all different, counting up) identifies neither.
        varied = [c for c in ids if not (c.n > 20 and c.distinct == c.n and c.whole and c.high - c.low == c.n - 1)]
        candidates = sorted(varied or ids, key=lambda c: c.position)
        if candidates:
            take(role, candidates[0], f"its values look like ids and it is the {'first' if role == 'user' else 'next'} such column")


def _rating_like(c: _Column) -> bool:
    return c.numeric and c.n > 30 and c.distinct <= 21 and c.distinct < 0.05 * c.n + 5 and c.low >= -10 and c.high <= 100


def _value(free: dict[str, _Column], names: dict[str, float], has_events: bool) -> tuple[_Column | None, str]:
    numeric = [c for c in free.values() if c.numeric and c.filled > 0.3]
    named = [c for c in numeric if names[c.name] >= 0.5]
    if named:
        # A rating says more than a count, a count more than a price.
        best = max(named, key=lambda c: (bool(RATING_NAMES.search(c.name)), not PRICE_NAMES.search(c.name), names[c.name]))
        return best, "its name, and it holds numbers"
    graded = [c for c in numeric if _rating_like(c) and c.time is None]
    if graded:
        return min(
            graded, key=lambda c: c.position
        ), f"it holds few different numbers from {graded[0].low:g} to {graded[0].high:g}, like ratings"
    # Without a name, large numbers are rather the ids of something else, and events have their own weights.
    rest = [c for c in numeric if c.time is None and re.fullmatch(r"column_\d+", c.name) and 0 <= c.low <= 100 and not has_events]
    if rest:
        return min(rest, key=lambda c: c.position), "it is the remaining column of numbers"
    return None, "no column holds ratings, counts or prices"


def _times(column: str | None, frame: pd.DataFrame) -> tuple[str, str, str | None, str | None, list[str]]:
    if column is None:
        return "auto", "", None, None, []
    found = guess_time(frame[column])
    if found is None:
        return (
            "s",
            f"The numbers in '{column}' look like positions, not dates: their order is used, the dates shown mean nothing.",
            None,
            None,
            [],
        )
    first, last = time_range(frame[column], found.format)
    return found.format, found.note, first, last, []


def time_range(column: pd.Series, time_format: str) -> tuple[str | None, str | None]:
    """First and last time of a text column under a format, as ISO text; (None, None) when none can be read."""
    from .values import EARLIEST, LATEST, time_sql

    texts = column.dropna().astype("str").tolist()
    with connect(threads=1) as con:
        read = con.execute(
            f"SELECT min(s), max(s) FROM (SELECT {time_sql('t', time_format, column)} AS s FROM (SELECT trim(unnest(?)) AS t)) "
            f"WHERE s BETWEEN {EARLIEST} AND {LATEST}",
            [texts],
        ).fetchone()
    return tuple(None if s is None else pd.Timestamp(s, unit="s").isoformat(sep=" ") for s in read)  # type: ignore[return-value]


def _events(source: Source, column: str | None) -> tuple[dict[str, int], dict[str, float], list[str]]:
    """Event types of the whole file, most frequent first, with default weights."""
    if column is None:
        return {}, {}, []
    text = trimmed(source.sql_of(column))
    with connect() as con:
        try:
            found = con.execute(
                f"SELECT {text} AS e, count(*) AS n FROM {relation(source)} WHERE e IS NOT NULL GROUP BY 1 ORDER BY n DESC, e LIMIT 200"
            ).fetchall()
        except Exception:  # a file DuckDB stumbles over: ingest reads it line by line and says so; no types are suggested
            found = []
    events = dict(found)
    known = {e: event_weight(e) for e in events}
    unknown = [e for e, w in known.items() if w is None]
    notes = (
        [f"Event types {', '.join(map(repr, unknown[:5]))} are not known: each got weight 1. Please set what they are worth."]
        if unknown
        else []
    )
    return events, {e: 1.0 if w is None else w for e, w in known.items()}, notes
