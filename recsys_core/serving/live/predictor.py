"""One model at work: lists for users and histories, state that follows every event. No web in it, and no library but numpy.

    predictor = Predictor(Bundle.open("shop.zip"), EventLog("events.log"))
    predictor.feedback("anna", "b0042", "like")
    predictor.recommend("anna", k=10).items          # without b0042, and with what it says of Anna

Thread-safe. State changes under one short lock; scoring runs outside it. Where several processes share a log, each takes in what the
others wrote before it answers.
"""

from __future__ import annotations

import time as clocks
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np

from ...errors import BadInput, Unsupported
from ...portable.bundle import Bundle, best_of
from ...portable.history import History
from ._catalogue import Catalogue
from ._reasons import reasons
from .drift import Drift
from .event_log import EventLog
from .popularity import Popularity
from .records import LIKES, Answer, Context, Event, Filters, Path, Reasons, Receipt, check_id, check_k
from .sessions import Session, Sessions

DRIFT_K, FUTURE_SECONDS = 10, 60.0


class Predictor:
    """bundle: the model; it is the predictor's from now on. log: where events go; without one they live in memory only. max_users: whose
    sessions are kept at hand. half_life_days: of popularity. watch_drift: keep count of how many liked items the lists foretold (one list
    more for every such event)."""

    def __init__(
        self,
        bundle: Bundle,
        log: EventLog | None = None,
        *,
        max_users: int = 50_000,
        half_life_days: float = 30.0,
        watch_drift: bool = True,
        clock: Callable[[], float] = clocks.time,
    ) -> None:
        self.bundle, self.log, self._clock = bundle, log, clock
        self.catalogue = Catalogue(bundle)
        self._sessions = Sessions(max_users)
        self._lock = RLock()
        self.popularity = Popularity(bundle.counts, half_life_days)
        self.drift = Drift((bundle.manifest.get("reference") or {}).get("hit_rate@10")) if watch_drift else None
        self._from = int((bundle.manifest.get("updated") or {}).get("until") or 0)  # what an update took in is in the bundle already
        self._waiting: list[Event] = []  # taken in, but not on disk yet
        self.n_events = 0
        self._follow()

    # ---- lists -------------------------------------------------------------------------------------
    def recommend(
        self,
        user: str | None = None,
        history: Sequence[str] | None = None,
        k: int = 10,
        *,
        values: Sequence[float] | None = None,
        filters: Filters | None = None,
        context: Context | None = None,
        exclude_seen: bool = True,
    ) -> Answer:
        """The k best items for a user by id (known or not), or for a history of item ids, oldest first (values: one number each, where
        the data has ratings). Raises BadInput for what cannot be asked."""
        start = clocks.perf_counter()
        check_k(k)
        known, newer, skips, unknown, code = self._asked(user, history, values, context)
        scores, path = self._scores(known, newer, code)
        out = []
        if exclude_seen:
            out += [known.items, np.asarray(newer, np.int64)]
        out.append(np.asarray(skips, np.int64))
        gone = np.concatenate(out).astype(np.int64)
        scores[gone[gone < len(scores)]] = -np.inf
        if filters is not None:
            allowed = self.catalogue.allowed(filters, len(scores))
            if allowed is not None:
                scores[~allowed] = -np.inf
        codes, best = best_of(scores, k)
        took = 1000 * (clocks.perf_counter() - start)
        return Answer(
            tuple(self.bundle.items.decode(codes)), tuple(best.tolist()), path, took, self.bundle.fingerprint[:12], (), tuple(unknown)
        )

    def similar(self, item: str, k: int = 10, filters: Filters | None = None) -> Answer:
        """The k items most like one, by the model where it can tell, else by their columns."""
        start = clocks.perf_counter()
        check_k(k)
        check_id(item, "item")
        self._follow()
        code = self.bundle.items.code(item)
        if code < 0:
            raise BadInput(
                f"The item '{item[:60]}' is not known.", "Ask with an item of the bundle, or send an event with its columns first."
            )
        found = self.bundle.form.similar(code) if code < self.bundle.n_items else None
        path: Path = "model"
        if found is None:
            found, path = self.catalogue.likeness([code]), "content"
            if found is None or not (found > 0).any():
                raise Unsupported("Neither the model nor columns of items say what is like this one.", "Take item columns along.")
            found = np.where(found > 0, found, -np.inf)
        scores = np.asarray(found, np.float32).copy()
        scores[code : code + 1] = -np.inf
        allowed = None if filters is None else self.catalogue.allowed(filters, len(scores))
        if allowed is not None:
            scores[~allowed] = -np.inf
        codes, best = best_of(scores, k)
        took = 1000 * (clocks.perf_counter() - start)
        return Answer(tuple(self.bundle.items.decode(codes)), tuple(best.tolist()), path, took, self.bundle.fingerprint[:12])

    def explain(
        self,
        user: str | None = None,
        history: Sequence[str] | None = None,
        *,
        item: str,
        k: int = 5,
        values: Sequence[float] | None = None,
    ) -> Reasons:
        """Why `item` for a user or a history: what of the history speaks for it."""
        check_k(k)
        check_id(item, "item")
        known, newer, _, _, code = self._asked(user, history, values, None)
        target = self.bundle.items.code(item)
        if target < 0:
            raise BadInput(f"The item '{item[:60]}' is not known.", "Ask about an item of the bundle.")
        scores, path = self._scores(known, newer, code)
        return reasons(self.bundle, known, code, target, float(scores[target]), path, k)

    # ---- events ------------------------------------------------------------------------------------
    def feedback(
        self,
        user: str,
        item: str,
        event: str = "click",
        *,
        value: float | None = None,
        time: float | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Take an event in; the user's next list reflects it. time: UTC seconds, now where left out or in the future. features: columns of
        an item that is new. Raises BadInput for an event that is none."""
        now = self._clock()
        said = Event(user, item, event, value, now if time is None else time, None if features is None else dict(features)).checked()
        said = replace(said, time=min(float(said.time), now + FUTURE_SECONDS))
        if self.drift is not None and (event in LIKES or (event == "rating" and self._liked(value))):
            self._watch(said)
        if self.log is None:
            with self._lock:
                self._take(said, -1)
            return Receipt(False, "Events are kept in memory only: the predictor has no log.")
        offset = self.log.append(said)
        if offset < 0:
            with self._lock:
                self._take(said, -1)
                self._waiting.append(said)
            return Receipt(False, self.log.problem or "The event waits in memory.")
        self._follow()
        return Receipt(True, "", offset)

    def version(self, user: str) -> int:
        """How many events of a user are known: the same number, the same list (but for popularity)."""
        self._follow()
        with self._lock:
            return self._session(user).version

    def state(self) -> dict[str, Any]:
        """For /health: users at hand, events, what is wrong with the log, what is popular, drift."""
        self._follow()
        with self._lock:
            top, _ = best_of(self.popularity.scores(len(self.bundle.items)), 5)
            return {
                "users_in_memory": len(self._sessions),
                "users_evicted": self._sessions.evicted,
                "events": self.n_events,
                "new_items": len(self.bundle.items) - self.bundle.n_items,
                "log_problem": None if self.log is None else self.log.problem,
                "events_waiting": 0 if self.log is None else self.log.waiting,
                "damaged_lines": 0 if self.log is None else self.log.skipped,
                "popular": self.bundle.items.decode(top),
                "drift": None if self.drift is None else self.drift.as_dict(),
            }

    # ---- inside ------------------------------------------------------------------------------------
    def _asked(
        self, user: str | None, history: Sequence[str] | None, values: Sequence[float] | None, context: Context | None
    ) -> tuple[History, list[int], list[int], list[str], int]:
        """(what the model knows of the history, codes of newer items in it, skips, unknown ids, training code if nothing came since)."""
        if (user is None) == (history is None):
            raise BadInput("Ask for a user or with a history, and not with both.", "Leave one of them out.")
        self._follow()
        unknown: list[str] = []
        skips: list[int] = []
        if user is not None:
            check_id(user, "user")
            with self._lock:
                session = self._session(user)
                code = self.bundle.users.code(user)
                whole, skips = session.after(self.bundle.history(code)), list(session.skips)
                changed = bool(session.entries)
        else:
            whole, unknown = self._given(history or (), values)
            code, changed = -1, True
        if context is not None and context.item is not None:
            check_id(context.item, "item")
            at = self.bundle.items.code(context.item)
            if at < 0:
                unknown.append(context.item)
            else:
                whole, changed = (
                    whole.and_then(History.of([at], [self.bundle.scale.like], whole.times[-1:] if whole.times is not None else None)),
                    True,
                )
        inside = whole.items < self.bundle.n_items
        newer = whole.items[~inside].tolist()
        return (whole if inside.all() else whole.take(inside)), newer, skips, unknown, -1 if changed else code

    def _given(self, history: Sequence[str], values: Sequence[float] | None) -> tuple[History, list[str]]:
        for item in history:
            check_id(item, "item")
        if values is not None and len(values) != len(history):
            raise BadInput(
                f"values must give one number for every item of the history; got {len(values)} for {len(history)}.", "Send as many."
            )
        codes = self.bundle.items.encode(history)
        numbers = np.full(len(codes), self.bundle.scale.like) if values is None else np.asarray(values, np.float64)
        if not np.isfinite(numbers).all():
            raise BadInput("Values must be numbers.", "Send finite numbers.")
        known = codes >= 0
        return History.of(codes[known], numbers[known]), [item for item, there in zip(history, known, strict=True) if not there]

    def _scores(self, known: History, newer: Sequence[int], code: int) -> tuple[np.ndarray, Path]:
        """(float32 (all items,), path). Items that came later are scored by what the model says of items like them."""
        bundle, n = self.bundle, len(self.bundle.items)
        told = known if code >= 0 else bundle.scale.told(known)
        if len(told) or (bundle.form.serves_nothing and not newer):
            path: Path = "model" if code >= 0 or (bundle.form.serves_nothing and not len(told)) else "fold-in"
            return self.catalogue.extended(bundle.scores(known, code), n), path
        liked = self.catalogue.likeness(newer) if newer else None
        with self._lock:
            popular = self.popularity.scores(n)
        if liked is not None and (liked > 0).any():
            out = np.zeros(n, np.float32)
            out[: len(liked)] = liked
            return out + 1e-3 * popular, "content"
        return popular, "popular"

    def _session(self, user: str) -> Session:
        """Of a user; read back from the log where it is not at hand. Under the lock."""
        found = self._sessions.get(user)
        if found is None:
            found = Session()
            past = [] if self.log is None else [event for offset, event in self.log.of(user) if offset >= self._from]
            for event in (*past, *(event for event in self._waiting if event.user == user)):
                found.take(self.catalogue.code(event.item, event.features), event.event, event.value, event.time, self.bundle.scale)
            if found.version:
                self._sessions.put(user, found)
        return found

    def _follow(self) -> None:
        """Take in what was written to the log since, by this process and others."""
        if self.log is None:
            return
        with self._lock:
            for offset, event in self.log.fresh():
                if offset >= self._from:
                    self._take(event, offset)

    def _take(self, event: Event, offset: int) -> None:
        """One event into popularity, catalogue and the session if it is at hand. Under the lock."""
        if offset >= 0 and event in self._waiting:  # it was taken in when it came, and could only be written now
            self._waiting.remove(event)
            return
        session = self._sessions.get(event.user)
        if session is None and offset < 0:
            session = self._sessions.put(event.user, self._session(event.user))
        code = self.catalogue.code(event.item, event.features)
        self.n_events += 1
        if event.event in LIKES:
            self.popularity.add(code, event.time)
        if session is not None:
            session.take(code, event.event, event.value, event.time, self.bundle.scale)

    def _liked(self, value: float | None) -> bool:
        return value is not None and bool(self.bundle.scale.liked(np.array([value]))[0])

    def _watch(self, event: Event) -> None:
        """Was the item on the list a moment before? Items the user has already are no test of a list."""
        known, newer, skips, _, code = self._asked(event.user, None, None, None)
        target = self.bundle.items.code(event.item)
        if target >= 0 and (target in known.items or target in newer):
            return
        scores, _ = self._scores(known, newer, code)
        gone = np.concatenate([known.items, np.asarray([*newer, *skips], np.int64)]).astype(np.int64)
        scores[gone] = -np.inf
        hit = target >= 0 and bool(target in best_of(scores, DRIFT_K)[0])
        with self._lock:
            self.drift.add(hit)
