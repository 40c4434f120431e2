"""The one thread of a worker that computes lists, so that the event loop stays free to answer health checks and to say no in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from .problems import Problem


class _Task:
    __slots__ = ("arguments", "deadline", "do", "future", "loop", "started")

    def __init__(self, do: Callable[..., Any], arguments: tuple[Any, ...], deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        self.do, self.arguments, self.deadline, self.loop = do, arguments, deadline, loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.started = False


class Work:
    """One thread, since a model is computed by the processor alone: more of them would only wait for each other, and a predictor need not
    guard itself. seconds: how long a request may take; limit: how many may wait.

    What has not begun when its time is up is never begun; what has, is let finish, its answer dropped.
    Cost: 30 µs a request (concurrent.futures: 60).
    """

    def __init__(self, seconds: float, limit: int) -> None:
        self.seconds, self.limit = seconds, limit
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="predictor", daemon=True)
        self._thread.start()

    async def do(self, what: Callable[..., Any], *arguments: Any, until: float | None = None) -> Any:
        """The result of what(*arguments), or Problem 503 when it takes too long. until: `time.monotonic()` at which to give up."""
        now = time.monotonic()
        until = now + self.seconds if until is None else until
        if self._waiting >= self.limit:
            raise Problem(503, f"{self.limit} requests are waiting already.", "Try again in a moment.", {"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        task = _Task(what, arguments, until, loop)
        handle = loop.call_later(max(0.0, until - now), self._expire, task)
        self._waiting += 1
        self._tasks.put(task)
        try:
            return await task.future
        finally:
            self._waiting -= 1
            handle.cancel()

    def _expire(self, task: _Task) -> None:
        if not task.future.done():
            begun = "It had begun and may still take effect." if task.started else "It was not begun."
            message = f"This took longer than {1000 * self.seconds:,.0f} ms."
            task.future.set_exception(Problem(503, message, f"{begun} Try again in a moment.", {"Retry-After": "1"}))

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if task.future.done() or time.monotonic() >= task.deadline:
                continue
            task.started = True
            try:
                outcome, failed = task.do(*task.arguments), None
            except BaseException as error:  # goes to whoever asked; this thread serves the next
                outcome, failed = None, error
            if not task.loop.is_closed():
                task.loop.call_soon_threadsafe(_settle, task.future, outcome, failed)
            task = outcome = failed = None  # an answer is not kept while nobody asks

    def close(self, seconds: float = 5.0) -> None:
        """Finish what waits."""
        self._tasks.put(None)
        self._thread.join(seconds)


def _settle(future: asyncio.Future[Any], outcome: Any, failed: BaseException | None) -> None:
    if future.done():
        return
    if failed is None:
        future.set_result(outcome)
    else:
        future.set_exception(failed)
