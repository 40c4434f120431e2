"""The thread that moves a workspace's queue along, in the app's process. One per workspace, whoever is first."""

from __future__ import annotations

import logging
import threading
from typing import Self

from .queue import JobQueue

log = logging.getLogger(__name__)


class Dispatcher:
    """Ticks the queue while it holds the workspace's dispatcher lock; others stand by and take over when
    the holder's process ends. Workers go on when the app stops: the next app finds them by their files."""

    def __init__(self, queue: JobQueue, every_seconds: float = 0.3) -> None:
        self.queue, self.every_seconds = queue, every_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.leading = False

    def start(self) -> Self:
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="recsys-dispatcher", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.queue.root / ".dispatcher.lock"))
        try:
            while not self._stop.is_set():
                if not self.leading:
                    try:
                        lock.acquire(timeout=0)
                        self.leading = True
                    except Timeout:
                        pass
                if self.leading:
                    try:
                        self.queue.tick()
                    except Exception:  # the queue must outlive one bad moment (disk full, lock held): tell and go on
                        log.exception("The job queue could not be moved along; trying again.")
                self._stop.wait(self.every_seconds)
        finally:
            self.leading = False
            lock.release()
