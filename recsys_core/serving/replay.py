"""Does learning online help? The held-out events of a run, taken in one after the other, as they would have come in.

Before an event is taken in: was its item on the list of k of the predictor that took in all before it (online), of the same model with
every history as it was at training (frozen), of what was popular just then (popular)? From all three lists the same is left out: what the
user had by then. So the difference is what the model makes of new events, not that it leaves out what is bought already.
The figure is the share of measured events that hit; people are compared as pairs, each with the hits they had on both lists.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..context import QUIET, RunContext
from ..portable.bundle import Bundle, best_of
from ..portable.history import History
from .live.event_log import EventLog
from .live.popularity import Popularity
from .live.predictor import Predictor

WINDOW, LEAST_SHOWN, POINTS = 500, 50, 200
LINES = ("online", "frozen", "popular")


@dataclass(frozen=True, eq=False)
class Events:
    """What was held out, in the order it is replayed.

    users, items: external ids; values: float (n,); times: float (n,), UTC seconds; counts: bool (n,), whether the list is judged by it
    (it was liked). given: (user, item, value, time) that people who are new come with, told before. columns: item -> its columns, of
    items that came later."""

    users: Sequence[str]
    items: Sequence[str]
    values: np.ndarray
    times: np.ndarray
    counts: np.ndarray
    given: Sequence[tuple[str, str, float, float]] = ()
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Replayed:
    """Of the measured events, in order. hits: line -> bool (m,). users: int (m,), their number in `names`. at: int (m,), place among the
    events; times: float (m,). had: events not measured because the user had the item before; disliked: because it was not liked."""

    hits: dict[str, np.ndarray]
    users: np.ndarray
    names: list[str]
    at: np.ndarray
    times: np.ndarray
    had: int
    disliked: int
    new_items: int
    new_users: int
    ms: float


class _Frozen:
    """Lists as they were at training, for everybody, less what was taken since."""

    def __init__(self, bundle: Bundle, k: int, most: dict[str, int]) -> None:
        self._bundle, self._k, self._most = bundle, k, most
        self._orders: dict[str, list[int]] = {}

    def list_of(self, user: str, code: int, before: History, taken: set[int]) -> list[int]:
        if user not in self._orders:
            codes, _ = self._bundle.best(before, self._k + self._most[user], user=code)
            self._orders[user] = codes.tolist()
        found = []
        for item in self._orders[user]:
            if item not in taken:
                found.append(item)
                if len(found) == self._k:
                    break
        return found


def replay(
    bundle: Bundle,
    events: Events,
    log: EventLog | None,
    *,
    k: int = 10,
    speed: float = 0.0,
    half_life_days: float = 30.0,
    window: int = WINDOW,
    ctx: RunContext = QUIET,
) -> Replayed:
    """Replay all events. speed: events a second, 0 = as fast as it goes. Progress carries the rolling rates; `ctx` can stop it.

    Cost: three lists an event, about three times the predictor's time for one."""
    now = [float(events.times[0]) if len(events) else 0.0]
    predictor = Predictor(bundle, log, half_life_days=half_life_days, max_users=10**6, watch_drift=False, clock=lambda: now[0])
    popularity = Popularity(bundle.counts, half_life_days, bundle.manifest["data"].get("last_time"))
    like = _teller(predictor)
    before: dict[str, History] = {}
    for user, item, value, when in events.given:
        like(user, item, value, when)
        code = bundle.items.code(item)
        if 0 <= code < bundle.n_items:
            one = History.of([code], [value], [int(when)])
            before[user] = before[user].and_then(one) if user in before else one
    codes: dict[str, int] = {}
    for user in dict.fromkeys(events.users):
        code = bundle.users.code(user)
        trained = bundle.history(code)
        codes[user] = code if len(trained) else -1  # a split by users keeps codes for those it holds out
        before.setdefault(user, trained)
    most: dict[str, int] = {}
    for user in events.users:
        most[user] = most.get(user, 0) + 1
    frozen = _Frozen(bundle, k, most)
    taken: dict[str, set[int]] = {user: set() for user in codes}
    had_before = {user: set(history.items.tolist()) for user, history in before.items()}
    numbers = {user: number for number, user in enumerate(codes)}
    hits: dict[str, list[bool]] = {name: [] for name in LINES}
    who, at, spent, had, disliked = [], [], 0.0, 0, 0
    later: set[str] = set()  # items that came after training
    began, told = clocks.monotonic(), clocks.monotonic()
    for place, (user, item) in enumerate(zip(events.users, events.items, strict=True)):
        now[0] = float(events.times[place])
        code, mine = bundle.items.code(item), taken[user]
        if not 0 <= code < bundle.n_items:
            later.add(item)
        if code in had_before[user] or code in mine:
            had += 1
        elif not events.counts[place]:
            disliked += 1
        else:
            start = clocks.perf_counter()
            listed = predictor.recommend(user, k=k).items
            spent += clocks.perf_counter() - start
            hits["online"].append(item in listed)
            hits["frozen"].append(code in frozen.list_of(user, codes[user], before[user], mine))
            scores = popularity.scores(len(bundle.items))
            scores[np.fromiter((*had_before[user], *mine), np.int64)] = -np.inf
            hits["popular"].append(code >= 0 and code in best_of(scores, k)[0])
            who.append(numbers[user])
            at.append(place)
        like(user, item, float(events.values[place]), now[0], events.columns.get(item))
        code = bundle.items.code(item)  # an item that is new has one now
        if code >= 0:
            mine.add(code)
            if events.counts[place]:
                popularity.add(code, now[0])
        if clocks.monotonic() - told > 0.5:
            told = clocks.monotonic()
            _report(ctx, place + 1, len(events), hits, window, speed)
        _pace(began, place + 1, speed, ctx)
    _report(ctx, len(events), len(events), hits, window, speed)
    places = np.array(at, dtype=np.int64)
    return Replayed(
        {name: np.array(line, dtype=bool) for name, line in hits.items()},
        np.array(who, dtype=np.int64),
        list(codes),
        places,
        events.times[places],
        had,
        disliked,
        len(later),
        sum(code < 0 for code in codes.values()),
        1000 * spent / max(1, len(places)),
    )


def _teller(predictor: Predictor) -> Any:
    """tell(user, item, value, time, columns): an event as this data has them."""
    rated = predictor.bundle.scale.has_ratings

    def tell(user: str, item: str, value: float, when: float, columns: dict[str, Any] | None = None) -> None:
        if rated:
            predictor.feedback(user, item, "rating", value=value, time=when, features=columns)
        else:
            predictor.feedback(user, item, "click", time=when, features=columns)

    return tell


def _report(ctx: RunContext, done: int, of: int, hits: dict[str, list[bool]], window: int, speed: float) -> None:
    """One point of the chart that grows."""
    n = len(hits["online"])
    metrics: dict[str, float] = {"events": done, "measured": n}
    if n >= LEAST_SHOWN:
        metrics |= {name: float(np.mean(line[-window:])) for name, line in hits.items()}
    left = (of - done) / speed if speed > 0 else None  # at a chosen speed it is known, not guessed
    ctx.report("", done / max(1, of), metrics=metrics, seconds_left=left)


def _pace(began: float, done: int, speed: float, ctx: RunContext) -> None:
    """Wait until the next event is due; Cancel is heard meanwhile."""
    if done % 20 == 0:
        ctx.check()
    if speed <= 0:
        return
    while (left := began + done / speed - clocks.monotonic()) > 0:
        ctx.check()
        clocks.sleep(min(left, 0.2))


def rolling(hits: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """float (m,): the share of hits among the last `window` events, fewer at the beginning."""
    total = np.concatenate([[0], np.cumsum(hits)])
    ends = np.arange(1, len(hits) + 1)
    starts = np.maximum(0, ends - window)
    return (total[ends] - total[starts]) / (ends - starts)
