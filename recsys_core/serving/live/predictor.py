"""One model at work: lists for users and histories, state that follows every event. No web in it, and no library but numpy.

    predictor = Predictor(Bundle.open("shop.zip"), EventLog("events.log"))
    predictor.feedback("anna", "b0042", "like")
    predictor.recommend("anna", k=10).items          # without b0042, and with what it says of Anna

Thread-safe: state changes under one short lock, scoring runs outside it. Processes that share a log take in what the others wrote.
"""

from __future__ import annotations

import time as clocks
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any

import numpy as np

from ...errors import BadInput, Unsupported
from ...portable.bundle import Bundle, best_of
from ...portable.history import History
from ._asked import Asked, given_history, notes_of
from ._catalogue import MOST_NEW, Catalogue
from ._reasons import reasons
from ._state import state_of
from ._taking_over import take_over
from .drift import Drift, foretold
from .event_log import MOST_WAITING, EventLog
from .near import Near
from .popularity import Popularity
from .records import LIKES, Answer, Context, Event, Filters, Path, Reasons, Receipt, check_id, check_k
from .sessions import Session, Sessions, not_in_update

FUTURE_SECONDS = 60.0


class Predictor:
    """bundle: the model; it is the predictor's from now on. log: where events go; without one they live in memory only, as long as
    their user is among those at hand. max_users: whose sessions are kept at hand. half_life_days: of popularity. max_new_items: how
    many items that the model does not know are taken up. watch_drift: keep count of how many liked items the lists foretold (one list more
    for every such event). near: an index of a very large catalogue."""

    def __init__(
        self,
        bundle: Bundle,
        log: EventLog | None = None,
        *,
        max_users: int = 50_000,
        half_life_days: float = 30.0,
        max_new_items: int = MOST_NEW,
        watch_drift: bool = True,
        near: Near | None = None,
        clock: Callable[[], float] = clocks.time,
    ) -> None:
        self.bundle, self.log, self._clock = bundle, log, clock
        self.catalogue, self.near = Catalogue(bundle, max_new_items), near
        self._sessions = Sessions(max_users)
        self._lock = RLock()
        self.popularity = Popularity(bundle.counts, half_life_days, bundle.manifest["data"].get("last_time"))
        self.drift = Drift((bundle.manifest.get("reference") or {}).get("hit_rate@10")) if watch_drift else None
        # What stands before it is in the bundle already; of a log that was begun anew since the update, nothing is.
        if log is not None:
            log.begin_after(bundle.manifest.get("updated") or {})
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)  # taken in, but not on disk yet; the log forgets as many
        self._drift_problem: str | None = None
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
        the data has ratings), which is taken instead of what is known of the user. Neither: what is popular. exclude_seen: leave out what
        is in the history; skipped items are left out always. Raises BadInput for what cannot be asked."""
        start = clocks.perf_counter()
        check_k(k)
        asked = self._asked(user, history, values, context)
        found = self.near.answer(self.bundle, asked, k) if self.near is not None and filters is None and exclude_seen else None
        if found is not None:
            answer = self._named(*found, "fold-in", start)
        else:
            scores, path = self._scores(asked)
            asked.leave_out(scores, seen=exclude_seen)
            if filters is not None:
                scores[~self.catalogue.allowed(filters, len(scores))] = -np.inf
            answer = self._named(*best_of(scores, k), path, start)
        notes = notes_of(asked, answer.path, len(answer.items), k, filters)
        return replace(answer, notes=notes, unknown=tuple(asked.unknown)) if notes or asked.unknown else answer

    def similar(self, item: str, k: int = 10, filters: Filters | None = None) -> Answer:
        """The k items most like one, by the model where it can tell, else by their columns."""
        start = clocks.perf_counter()
        check_k(k)
        check_id(item, "item")
        self._follow()
        code = self.bundle.items.code(item)
        if code < 0:
            raise BadInput(f"The item '{item[:60]}' is not known.", "Ask with an item of the bundle, or send an event on it first.")
        found = self.bundle.form.similar(code) if code < self.bundle.n_items else None
        path: Path = "model"
        if found is None:
            found, path = self.catalogue.likeness([code], max(code + 1, len(self.bundle.items))), "content"
            if found is None or not np.delete(found, code).max(initial=0) > 0:
                raise Unsupported("Neither the model nor columns of items say what is like this one.", "Take item columns along.")
            found = np.where(found > 0, found, -np.inf)
        scores = np.asarray(found, np.float32).copy()
        scores[code : code + 1] = -np.inf
        if filters is not None:
            scores[~self.catalogue.allowed(filters, len(scores))] = -np.inf
        return self._named(*best_of(scores, k), path, start)

    def explain(
        self, user: str | None = None, history: Sequence[str] | None = None, *, item: str, k: int = 5, values: Sequence[float] | None = None
    ) -> Reasons:
        """Why `item` for a user or a history: what of the history speaks for it."""
        check_k(k)
        check_id(item, "item")
        asked = self._asked(user, history, values, None)
        target = self.bundle.items.code(item)
        if target < 0:
            raise BadInput(f"The item '{item[:60]}' is not known.", "Ask about an item of the bundle.")
        scores, path = self._scores(asked)
        score = float(scores[target]) if target < len(scores) else -np.inf
        near = () if target < self.bundle.n_items or self.catalogue.content is None else self.catalogue.content.neighbours(target)
        return reasons(self.bundle, asked, target, score, path, k, near)

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
        said = Event(user, item, event, value, now if time is None else time, features).checked()
        note = "The time given lies in the future; it was taken for now." if said.time > now + FUTURE_SECONDS else ""
        said = replace(said, time=now if note else float(said.time))
        if event == "rating" and (held := self.bundle.scale.held(said.value)) != said.value:
            note = f"{note} Ratings of this data end at {held:g}; {said.value:g} was taken for that.".strip()
            said = replace(said, value=held)
        if features and self.bundle.items.code(item) < self.bundle.n_items:
            self.catalogue.content  # noqa: B018 - made before the lock is taken
        watched = self.drift is not None and (event in LIKES or (event == "rating" and self.bundle.scale.likes(value)))
        if watched and (hit := foretold(self, said)) is not None:  # written down: every worker counts it, and a restart does
            said = replace(said, hit=hit, by=self.bundle.fingerprint[:12])
        why, offset = "", -1
        with self._lock:
            if self.log is None:
                why = "Events are kept in memory only: the predictor has no log."
                self._take(said, -1)
            elif (offset := self.log.append(said)) < 0:  # under the lock: events of a user are taken in in the order of the log
                why = self.log.problem or "The event waits in memory."
                self._take(said, -1)
                self._waiting.append(said)
            else:
                self._follow()
            notes = why, note, self.catalogue.left_out(item, features)
        return Receipt(offset >= 0, " ".join(filter(None, notes)), offset)

    def version(self, user: str) -> int:
        """How many events of a user are known: the same number, the same list (but for popularity)."""
        self._follow()
        with self._lock:
            return self._session(user).version

    def state(self) -> dict[str, Any]:
        """For /health: users at hand, events, what is wrong with the log, what is popular, drift."""
        self._follow()
        with self._lock:
            return state_of(self)

    def adopt(self, other: Predictor) -> None:
        """Know what another predictor was told and could not write down yet: its log goes on trying to. Without logs: all it was told."""
        if self.log is None and other.log is None:
            return take_over(self, other)
        other._follow()
        with other._lock:
            waiting = list(other._waiting)
        with self._lock:
            had = {id(event) for event in self._waiting}  # handed on before: the same objects
            for event in waiting:
                if id(event) not in had:
                    self._take(event, -1)
                    self._waiting.append(event)

    def _named(self, codes: np.ndarray, best: np.ndarray, path: Path, start: float) -> Answer:
        took = 1000 * (clocks.perf_counter() - start)
        return Answer(tuple(self.bundle.items.decode(codes)), tuple(best.tolist()), path, took, self.bundle.fingerprint[:12])

    # ---- inside ------------------------------------------------------------------------------------
    def _asked(self, user: str | None, history: Sequence[str] | None, values: Sequence[float] | None, context: Context | None) -> Asked:
        self._follow()
        bundle, unknown = self.bundle, []
        skips: Sequence[int] = ()
        code, changed, trained = -1, True, 0
        if history is not None:
            whole, unknown = given_history(bundle, history, values)
        elif user is not None:
            check_id(user, "user")
            code = bundle.users.code(user)
            with self._lock:
                session = self._session(user)
                (whole, trained), skips = session.after(bundle.history(code)), session.hidden
                changed = any(entry[0] < bundle.n_items for entry in session.entries)
        else:
            whole = History.of([])
        if context is not None and context.item is not None:
            at = bundle.items.code(context.item)
            if at < 0:
                unknown.append(context.item)
            else:
                last = whole.times[-1] if whole.times is not None and len(whole) else 0  # the newest entry, whatever clock was asked
                moment = [max(int(last), int(self._clock() if context.time is None else context.time))]
                looked = History.of([at], [bundle.scale.like], None if whole.times is None and len(whole) else moment)
                whole, changed = whole.and_then(looked) if len(whole) else looked, changed or at < bundle.n_items
        inside = whole.items < bundle.n_items
        if inside.all():
            return Asked(whole, [], [], skips, unknown, -1 if changed else code, trained, user is not None or history is not None)
        later = whole.take(~inside)
        chosen = later.items[bundle.scale.liked(later.values)].tolist()
        return Asked(whole.take(inside), later.items.tolist(), chosen, skips, unknown, -1 if changed else code, trained)

    def _scores(self, asked: Asked) -> tuple[np.ndarray, Path]:
        """(float32 (all items,), path). Items that came later are scored by what the model says of items like them."""
        bundle, n, known = self.bundle, len(self.bundle.items), asked.known
        told = known if asked.code >= 0 else bundle.scale.told(known, asked.trained)
        expects = bundle.form.serves_nothing and asked.somebody and not asked.chosen  # of anybody, by what it learnt
        if len(told) or expects:
            path: Path = "model" if asked.code >= 0 or not len(told) else "fold-in"
            return self.catalogue.extended(bundle.scores(known, asked.code, asked.trained), n), path
        liked = self.catalogue.likeness(asked.chosen, n) if asked.chosen else None
        with self._lock:
            popular = self.popularity.scores(n)
        if liked is not None and (liked > 0).any():
            return liked + np.float32(1e-3) * popular, "content"
        return popular, "popular"

    def _session(self, user: str) -> Session:
        """Of a user; read back from the log where it is not at hand. Under the lock."""
        found = self._sessions.get(user)
        if found is None:
            found = Session()
            past = [] if self.log is None else [left for offset, event in self.log.of(user) if (left := self._left(offset, event))]
            for event in (*past, *(event for event in self._waiting if event.user == user)):
                code = self.catalogue.code(event.item, event.features)
                if code >= 0:
                    found.take(code, event.event, event.value, event.time, self.bundle.scale)
            if found.version:
                self._sessions.put(user, found)
        return found

    def _follow(self) -> None:
        """Take in what was written to the log since, by this process and others."""
        if self.log is None:
            return
        with self._lock:
            while found := self.log.fresh():
                for offset, event in found:
                    if left := self._left(offset, event):
                        self._take(left, offset)

    def _left(self, offset: int, event: Event) -> Event | None:
        return event if offset >= self.log.begins else not_in_update(self.bundle, event)

    def _take(self, event: Event, offset: int) -> None:
        """One event into popularity, catalogue and the session if it is at hand. Under the lock."""
        if offset >= 0 and event in self._waiting:  # it was taken in when it came, and could only be written now
            self._waiting.remove(event)
            return
        session = self._sessions.get(event.user)
        if session is None and offset < 0:
            session = self._sessions.put(event.user, self._session(event.user))
        self.n_events += 1
        if event.hit is not None and self.drift is not None and event.by == self.bundle.fingerprint[:12]:
            self.drift.add(event.hit)
        code = self.catalogue.code(event.item, event.features)
        if code < 0:
            return
        counted = self.log is not None and 0 <= offset < self.log.begins and code < self.bundle.n_items  # in the counts of the bundle
        if not counted and (event.event in LIKES or (event.event == "rating" and self.bundle.scale.likes(event.value))):
            self.popularity.add(code, event.time)
        if session is not None:
            session.take(code, event.event, event.value, event.time, self.bundle.scale)
