"""What users did since training, for those seen last; the others are read back from the log."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ...portable.bundle import Bundle
from ...portable.history import History
from ...portable.scale import Scale
from .records import LIKES, Event

MOST_SKIPS, MOST_ENTRIES = 50, 5_000
KEPT_OFF = "kept off"  # what becomes of a dislike that an update took in where there are no ratings


def not_in_update(bundle: Bundle, event: Event) -> Event | None:
    """What an update that took this event in could not put into its bundle: skips, items it has no place for, and, where there are no
    ratings, that something disliked stays off the lists; all of it where the bundle was made without histories of users."""
    if event.event == "skip" or not bundle.has_histories or not 0 <= bundle.items.code(event.item) < bundle.n_items:
        return event
    return replace(event, event=KEPT_OFF) if event.event == "dislike" and not bundle.scale.has_ratings else None


@dataclass
class Session:
    """One user's events since training. entries: (item code, value, time), oldest first; of an item that was disliked or rated, what was
    said last. skips: codes shown and passed over. off: codes disliked before an update. version: how many events there were."""

    entries: list[tuple[int, float, float]] = field(default_factory=list)
    skips: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_SKIPS))
    off: dict[int, None] = field(default_factory=dict)
    judged: set[int] = field(default_factory=set)  # items whose latest word stands for all before it, those in training included
    version: int = 0
    _merged: History | None = None

    def take(self, code: int, event: str, value: float | None, time: float, scale: Scale) -> None:
        """Take one event in."""
        self.version += 1
        self._merged = None
        if code in self.skips:
            self.skips.remove(code)
        self.off.pop(code, None)
        if event == KEPT_OFF:
            self.off[code] = None
            if len(self.off) > MOST_ENTRIES:
                del self.off[next(iter(self.off))]
            return
        if event == "skip":
            self.skips.append(code)
            return
        number = scale.like if event in LIKES else scale.dislike if event == "dislike" else float(value or 0.0)
        # The latest word counts: a like after a dislike takes it back, and the other way round. Ratings replace each other; of likes alone,
        # where there are no ratings, each is one more.
        if scale.has_ratings or event not in LIKES or code in self.judged:
            self.entries = [entry for entry in self.entries if entry[0] != code]
            self.judged.add(code)
        self.entries.append((code, number, time))
        if len(self.entries) > MOST_ENTRIES:
            del self.entries[: len(self.entries) - MOST_ENTRIES]

    @property
    def hidden(self) -> list[int]:
        """Codes that are not shown though they are in no history."""
        return [*self.skips, *self.off]

    def moved(self, code_of: Callable[[int], int]) -> Session:
        """The same for another bundle; code_of: its code of an item of this one, -1 where it has no place for it."""
        codes = {code: code_of(code) for code in {*(entry[0] for entry in self.entries), *self.skips, *self.off, *self.judged}}
        return Session(
            [(codes[code], value, time) for code, value, time in self.entries if codes[code] >= 0],
            deque((codes[code] for code in self.skips if codes[code] >= 0), MOST_SKIPS),
            {codes[code]: None for code in self.off if codes[code] >= 0},
            {codes[code] for code in self.judged if codes[code] >= 0},
            self.version,
        )

    def after(self, trained: History) -> tuple[History, int]:
        """(the training history, then the events: what a model is asked with; how many entries of it are of training). Times never run
        backwards: events stand in the order in which they came, whatever the clocks of those who sent them said."""
        if not self.entries:
            return trained, len(trained)
        if self._merged is None:
            codes, values, times = zip(*self.entries, strict=True)
            timed = trained.times is not None or not len(trained)
            since = History.of(codes, values, np.asarray(times).astype(np.int64) if timed else None)
            if self.judged and len(trained):
                trained = trained.take(~np.isin(trained.items, list(self.judged)))
            both = trained.and_then(since) if len(trained) else since
            self._merged = both if both.times is None else History(both.items, both.values, np.maximum.accumulate(both.times))
        return self._merged, len(self._merged) - len(self.entries)


class Sessions:
    """The sessions of at most `most` users; who was seen longest ago gives way. Not thread-safe: the predictor holds its lock."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[str, Session] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    def all(self) -> Iterator[tuple[str, Session]]:
        """Those at hand, seen longest ago first."""
        return iter(self._kept.items())

    def get(self, user: str) -> Session | None:
        """The session that is in memory, now the one seen last."""
        found = self._kept.get(user)
        if found is not None:
            self._kept.move_to_end(user)
        return found

    def put(self, user: str, session: Session) -> Session:
        self._kept[user] = session
        self._kept.move_to_end(user)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
            self.evicted += 1
        return session
