"""The one thread of a worker that computes lists, so that the event loop stays free to answer health checks and to say no in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, get_args

from .problems import Problem

STUCK_SECONDS = 5.0  # a request that is at it for longer, and for more than twice what is allowed, hangs
# full: as many waited as may; expired: its time was up before it was begun, and it never was; late: its time was up while it was computed
Reason = Literal["full", "expired", "late"]


class _Task:
    __slots__ = ("arguments", "begun", "deadline", "do", "future", "loop")

    def __init__(self, do: Callable[..., Any], arguments: tuple[Any, ...], deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self.do, self.arguments, self.deadline, self.loop = do, arguments, deadline, loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.begun = False


class Work:
    """One thread, since a model is computed by the processor alone: more of them would only wait for each other, and a predictor need not
    guard itself. seconds: how long a request may take; limit: how many may wait. turned_away: how many got 503, by reason.

    What has not begun when its time is up leaves the queue and is never begun; what has, is let finish, its answer dropped. So a model that
    hangs keeps no more than `limit` requests in memory, and has nothing stale to work off when it comes back.
    Cost: 30 µs a request (concurrent.futures: 60).
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self.seconds, self.limit = seconds, limit
        self.turned_away: dict[Reason, int] = dict.fromkeys(get_args(Reason), 0)
        self._queue: OrderedDict[_Task, None] = OrderedDict()
        self._changed = threading.Condition(threading.Lock())
        self._since: float | None = None  # when the thread began with what it is at
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="predictor", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that are not begun."""
        return len(self._queue)

    @property
    def busy_seconds(self) -> float:
        """How long the thread has been at one piece of work; 0 where it is at none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def problem(self) -> str | None:
        """A sentence while the thread hangs."""
        busy = self.busy_seconds
        if busy <= max(STUCK_SECONDS, 2 * self.seconds):
            return None
        return f"One request has been computed for {busy:,.0f} s and does not end; all others are turned away until it does."

    async def do(self, what: Callable[..., Any], *arguments: Any, until: float | None = None) -> Any:
        """The result of what(*arguments), or Problem 503 when it takes too long. until: `time.monotonic()` at which to give up."""
        now = time.monotonic()
        until = now + self.seconds if until is None else until
        loop = asyncio.get_running_loop()
        task = _Task(what, arguments, until, loop)
        with self._changed:
            full = len(self._queue) >= self.limit
            if not full:
                self._queue[task] = None
                self._changed.notify()
        if full:
            self.turned_away["full"] += 1
            number = "1 request is" if self.limit == 1 else f"{self.limit:,} requests are"
            raise Problem(503, f"{number} waiting already, as many as may.", "Try again in a moment.", {"Retry-After": "1"})
        handle = loop.call_later(max(0.0, until - now), self._expire, task)
        try:
            return await task.future
        finally:
            handle.cancel()
            self._withdraw(task)

    def _withdraw(self, task: _Task) -> None:
        with self._changed:
            self._queue.pop(task, None)

    def _expire(self, task: _Task) -> None:
        if task.future.done():
            return
        self._withdraw(task)
        self.turned_away["late" if task.begun else "expired"] += 1
        begun = "It had begun and may still take effect." if task.begun else "It was not begun."
        message = f"This took longer than {1000 * self.seconds:,.0f} ms."
        task.future.set_exception(Problem(503, message, f"{begun} Try again in a moment.", {"Retry-After": "1"}))

    def _next(self) -> _Task | None:
        """The next one whose time is not up."""
        with self._changed:
            while True:
                while self._queue:
                    task, _ = self._queue.popitem(last=False)
                    if time.monotonic() < task.deadline:
                        task.begun, self._since = True, time.monotonic()
                        return task
                    if not task.loop.is_closed():
                        task.loop.call_soon_threadsafe(self._expire, task)  # a moment before its alarm rings
                if self._closing:
                    return None
                self._changed.wait()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                outcome, failed = task.do(*task.arguments), None
            except BaseException as error:  # goes to whoever asked; this thread serves the next
                outcome, failed = None, error
            self._since = None
            if not task.loop.is_closed():
                task.loop.call_soon_threadsafe(_settle, task.future, outcome, failed)
            task = outcome = failed = None  # an answer is not kept while nobody asks

    def close(self, seconds: float = 5.0) -> None:
        """Finish what waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)


def _settle(future: asyncio.Future[Any], outcome: Any, failed: BaseException | None) -> None:
    if future.done():
        return
    if failed is None:
        future.set_result(outcome)
    else:
        future.set_exception(failed)
