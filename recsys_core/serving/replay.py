"""Does learning online help on this data? The held-out events of a run, one after the other as they happened, under three recommenders:

- online: the predictor, told of every event after it was foretold or missed;
- frozen: the same model with everybody's history as training left it;
- popular: what is popular now, counts that fade and follow the events.

Each is asked for its k best before an event is told. All leave out what the user has had by then, training and earlier events alike, so
that the frozen one is not held to items that are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import QUIET, RunContext
from ..errors import BadInput
from ..portable.bundle import Bundle, best_of
from ..portable.history import History
from .live.event_log import EventLog
from .live.predictor import Predictor

if TYPE_CHECKING:
    from ..store.entries import RunEntry

LINES = {"online": "Learning online", "frozen": "As it was trained", "popular": "Popular now"}
AFTER = ((0, 0, "the first"), (1, 4, "the 2nd to 5th"), (5, 19, "the 6th to 20th"), (20, None, "later ones"))
MOST_POINTS, REPORT_EVERY = 300, 100


@dataclass(frozen=True, eq=False)
class Events:
    """In the order in which they happened. users: (n,) numbers of `ids`, the users' ids; items (n,): codes; times (n,): UTC seconds.
    given: of users who are not in training, what is known of them before the first event. by_time: False where the data has no times."""

    ids: Sequence[str]
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    given: dict[int, History] = field(default_factory=dict)
    by_time: bool = True

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Replayed:
    """hits: bool (n, 3), a column a line of `LINES`. since: (n,) events of that user before this one. milliseconds (n, 2): of the online
    list, and of taking the event in."""

    events: Events
    hits: np.ndarray
    since: np.ndarray
    milliseconds: np.ndarray
    k: int


def replay(
    bundle: Bundle,
    events: Events,
    *,
    k: int = 10,
    log: EventLog | None = None,
    per_second: float | None = None,
    ctx: RunContext = QUIET,
    watch: Callable[[int, np.ndarray], None] | None = None,
) -> Replayed:
    """Play the events. per_second: at most so many; None as fast as it goes. watch(n, hits so far) is called now and then.

    Cost: two lists of the model and one of popularity an event, 0.3 to 10 ms, one event after the other: the next list depends on it.
    """
    if not len(events):
        raise BadInput("No held-out events can be replayed.", "Choose a run whose test has interactions that count as liked.")
    predictor = Predictor(bundle, log, watch_drift=False)
    n, names = len(events), bundle.items.ids
    hits, since, took = np.zeros((n, len(LINES)), bool), np.zeros(n, np.int64), np.zeros((n, 2))
    frozen: dict[int, np.ndarray] = {}
    seen: dict[int, list[int]] = {}
    told: dict[int, int] = {}
    start = time.monotonic()
    for number in range(n):
        user, item = int(events.users[number]), int(events.items[number])
        name = events.ids[user]
        if user not in frozen:
            code = bundle.users.code(name)
            known = events.given[user] if user in events.given else bundle.history(code)
            frozen[user], seen[user] = bundle.scores(known, code), known.items.tolist()
            for past, value in zip(known.items, known.values, strict=True) if user in events.given else ():
                predictor.feedback(name, names[past], "rating", value=float(value), time=float(events.times[number]))
        gone = np.asarray(seen[user], np.int64)
        begin = time.perf_counter()
        listed = predictor.recommend(name, k=k).items
        took[number, 0] = time.perf_counter() - begin
        still, popular = frozen[user].copy(), predictor.popularity.scores(bundle.n_items)
        still[gone] = popular[gone] = -np.inf
        hits[number] = names[item] in listed, item in best_of(still, k)[0], item in best_of(popular, k)[0]
        since[number] = told.get(user, 0)
        begin = time.perf_counter()
        predictor.feedback(name, names[item], "like", time=float(events.times[number]))
        took[number, 1] = time.perf_counter() - begin
        seen[user].append(item)
        told[user] = told.get(user, 0) + 1
        if number % REPORT_EVERY == REPORT_EVERY - 1 or number == n - 1:
            ctx.check()
            rates = hits[: number + 1].mean(axis=0)
            ctx.report("Replaying", (number + 1) / n, metrics={name: float(rate) for name, rate in zip(LINES, rates, strict=True)})
            if watch is not None:
                watch(number + 1, hits[: number + 1])
        if per_second is not None:
            _wait_until(start + (number + 1) / per_second, ctx)
    return Replayed(events, hits, since, 1000 * took, k)


def events_of(run: RunEntry, bundle: Bundle, *, most: int = 20_000) -> Events:
    """The liked events of a run's test, in order of time (by lot where the data has none), the first `most` of them. Items the model does
    not know are left out. Raises BadInput where nothing is left."""
    holdout = run.holdout()
    truth = holdout.truth
    at = np.flatnonzero(truth.relevant)
    items = bundle.items.encode(truth.items.decode(truth.item[at]).tolist())
    at, items = at[items >= 0], items[items >= 0]
    # Of what happened in the same second the order is a lot: by the file it would follow the ids.
    lot = np.random.default_rng(0).permutation(len(at))
    order = lot if truth.time is None else lot[np.argsort(truth.time[at][lot], kind="stable")]
    at, items = at[order][:most], items[order][:most]
    if not len(at):
        raise BadInput(f"The test of '{run.name}' has no liked events on items the model knows.", "Choose another run.")
    users, rows = np.unique(truth.user[at], return_inverse=True)
    times = np.arange(len(at), dtype=np.float64) if truth.time is None else truth.time[at].astype(np.float64)
    given: dict[int, History] = {}
    if holdout.given is not None:
        past = holdout.given.histories(users)
        for row in range(len(users)):
            part = slice(int(past.indptr[row]), int(past.indptr[row + 1]))
            codes = bundle.items.encode(truth.items.decode(past.items[part]).tolist())
            given[row] = History.of(codes[codes >= 0], past.values[part][codes >= 0])
    ids = [str(user) for user in truth.users.decode(users)]
    return Events(ids, rows, items, times, given, truth.time is not None)


def _wait_until(moment: float, ctx: RunContext) -> None:
    while (left := moment - time.monotonic()) > 0:
        ctx.check()
        time.sleep(min(left, 0.2))


def curve(hits: np.ndarray, window: int) -> dict[str, Sequence[float]]:
    """{"at": event numbers, line: share of hits among the last `window` events}; at most 300 points."""
    n = len(hits)
    total = np.vstack([np.zeros(hits.shape[1]), np.cumsum(hits, axis=0)])
    first = min(window, n)
    at = np.unique(np.linspace(first, n, min(MOST_POINTS, n - first + 1)).astype(int))
    rates = (total[at] - total[np.maximum(at - window, 0)]) / np.minimum(at, window)[:, None]
    return {"at": at.tolist()} | {name: rates[:, place].tolist() for place, name in enumerate(LINES)}


def result_of(played: Replayed, *, window: int = 500, seed: int = 0) -> dict[str, Any]:
    """JSON-able. lines: hit rate of each with its interval over users; gain: online minus frozen, paired by user; after: the same by how
    many events of the user had been told; curve; verdict: one sentence; milliseconds."""
    users, per_user = np.unique(played.events.users, return_inverse=True)
    n, rng = len(played.events), np.random.default_rng(seed)
    sums = np.stack([np.bincount(per_user, column, minlength=len(users)) for column in played.hits.T], axis=1)
    sizes = np.bincount(per_user, minlength=len(users)).astype(np.float64)
    draws = rng.integers(0, len(users), (1000, len(users)))
    drawn = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)[:, None]  # users are drawn, with all their events
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    means = played.hits.mean(axis=0)
    lines = [
        {"name": name, "label": label, "hit_rate": float(means[at]), "low": float(low[at]), "high": float(high[at])}
        for at, (name, label) in enumerate(LINES.items())
    ]
    gain = _gain(sums, sizes, draws)
    after = []
    for least, most, words in AFTER:
        some = (played.since >= least) & (played.since <= (most if most is not None else played.since.max()))
        if some.sum() >= 30:
            part = np.stack([np.bincount(per_user[some], column[some], minlength=len(users)) for column in played.hits.T], axis=1)
            sizes_of_part = np.bincount(per_user[some], minlength=len(users)).astype(np.float64)
            rates = played.hits[some].mean(axis=0)
            named = {name: float(rate) for name, rate in zip(LINES, rates, strict=True)}
            after.append({"events": words, "n": int(some.sum())} | named | {"gain": _gain(part, sizes_of_part, draws)})
    took = played.milliseconds
    found = {
        "k": played.k, "n_events": n, "n_users": len(users), "window": min(window, n), "by_time": played.events.by_time,
        "lines": lines, "gain": gain, "after": after, "curve": curve(played.hits, window),
        "milliseconds": {"list_p50": float(np.median(took[:, 0])), "list_p99": float(np.quantile(took[:, 0], 0.99)),
                         "event_p50": float(np.median(took[:, 1])), "event_p99": float(np.quantile(took[:, 1], 0.99))},
    }  # fmt: skip
    return found | {"verdict": verdict(found)}


def _gain(sums: np.ndarray, sizes: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    """Online minus frozen: mean over events and its 95 % interval, users drawn with all their events."""
    difference = sums[:, 0] - sums[:, 1]
    drawn = difference[draws].sum(axis=1) / np.maximum(sizes[draws].sum(axis=1), 1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(difference.sum() / max(1, sizes.sum())), "low": float(low), "high": float(high)}


def verdict(found: dict[str, Any]) -> str:
    """Whether learning online helps, in one sentence with its figures."""
    gain, (online, frozen, popular) = found["gain"], (line["hit_rate"] for line in found["lines"])
    figures = (
        f"{online:.1%} of the events were on the list of {found['k']} when it learnt from every one before, {frozen:.1%} when it did not"
    )
    span = f"(difference {100 * gain['mean']:+.1f} points, {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
    behind = " What is popular now foretells more than either." if popular > max(online, frozen) else ""
    if gain["low"] > 0:
        return f"Learning online helps here: {figures} {span}.{behind}"
    if gain["high"] < 0:
        return f"Learning online hurts here: {figures} {span}. What people do next is not like what they did last.{behind}"
    return f"Whether learning online helps cannot be told from {found['n_events']:,} events: {figures} {span}.{behind}"
