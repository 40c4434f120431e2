"""Answers of hot users, ready to be sent."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

MOST_OF_ONE = 16  # different questions about one user


class AnswerCache:
    """user -> question -> (bytes, when). Least recently asked users go first. An answer holds for one version of the user's state and of
    the bundle, both part of the question, and for at most `seconds`: popularity moves on, also for who does nothing."""

    def __init__(self, most_users: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.most_users, self.seconds, self.clock = most_users, seconds, clock
        self._users: OrderedDict[str, dict[Hashable, tuple[bytes, float]]] = OrderedDict()
        self._lock = Lock()

    def get(self, user: str, question: Hashable) -> bytes | None:
        with self._lock:
            of_user = self._users.get(user)
            found = None if of_user is None else of_user.get(question)
            if found is None:
                return None
            if self.clock() - found[1] > self.seconds:
                del of_user[question]
                return None
            self._users.move_to_end(user)
            return found[0]

    def put(self, user: str, question: Hashable, answer: bytes) -> None:
        if not self.most_users or not self.seconds:
            return
        with self._lock:
            of_user = self._users.setdefault(user, {})
            if len(of_user) >= MOST_OF_ONE:
                of_user.pop(next(iter(of_user)))
            of_user[question] = (answer, self.clock())
            self._users.move_to_end(user)
            if len(self._users) > self.most_users:
                self._users.popitem(last=False)

    def forget(self, user: str) -> None:
        """They did something."""
        with self._lock:
            self._users.pop(user, None)

    def clear(self) -> None:
        with self._lock:
            self._users.clear()

    def __len__(self) -> int:
        return len(self._users)
