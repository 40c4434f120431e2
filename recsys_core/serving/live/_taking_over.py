"""What a predictor without a log was told, handed on to the one that takes its place: nothing else remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .predictor import Predictor


def take_over(newer: Predictor, older: Predictor) -> None:
    """Sessions of the users at hand, what they liked as popular now, and items that came later with their columns.

    Items are found again by their ids. What is told to the older one after this is lost with it: swap at once.
    """
    items, found = older.bundle.items, {}

    def code_of(code: int) -> int:
        if code not in found:
            found[code] = newer.catalogue.code(str(items.decode([code])[0]), older.catalogue.features(code))
        return found[code]

    with older._lock, newer._lock:
        for user, session in older._sessions.all():
            moved = newer._sessions.put(user, session.moved(code_of))
            for code, value, time in moved.entries:
                if newer.bundle.scale.likes(value):
                    newer.popularity.add(code, time)
        newer.n_events += older.n_events
