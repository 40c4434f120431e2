"""Who gets which bundle, and the file that says so, as the A/B page reads it.

Source: Kohavi, Tang & Xu, "Trustworthy online controlled experiments", ch. 14: assignment by a hash of the user and the experiment, so
that a user stays where they are, in every worker and replica, and another experiment deals the cards anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from ...errors import BadInput

OUTCOMES = ("lists", "clicks", "views", "likes", "purchases", "dislikes", "skips", "ratings", "value")
HEADER = ",".join(("user", "variant", "time", *OUTCOMES))
OUTCOME_OF = {
    "click": "clicks", "view": "views", "like": "likes", "purchase": "purchases", "dislike": "dislikes", "skip": "skips",
    "rating": "ratings",
}  # fmt: skip


class Assignment:
    """weights: of the variants, in their order. experiment: its name."""

    def __init__(self, weights: Sequence[float], experiment: str) -> None:
        total = sum(weights)
        self._edges = [edge / total for edge in accumulate(weights)][:-1]
        self._key = hashlib.blake2b(experiment.encode(), digest_size=32).digest()

    def of(self, user: str | None) -> int:
        """The variant's number; nobody in particular gets the first, control."""
        if user is None or not self._edges:
            return 0
        digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()
        return bisect_right(self._edges, int.from_bytes(digest, "big") / 2**64)


class Exposures:
    """A CSV file, a row for every list shown and for every event after it: who (hashed), which variant, when, and a 1 in the column of
    what happened. The A/B page and `ab read` add the rows of a user up. Workers and replicas append to one file, a row in one write.

    A file that cannot be written does not stop the service: `problem` says so, and `lost` how many rows are missing.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self.problem: str | None = None
        self.lost = 0
        self._file = -1
        self._at: tuple[int, str] = (0, "")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            os.write(made, f"{HEADER}\n".encode())
            os.close(made)
        if path.is_file() and path.stat().st_size:
            with open(path, encoding="utf-8", errors="replace") as file:
                if file.readline(len(HEADER) + 2).strip() != HEADER:
                    raise BadInput(f"'{path.name}' is there and is no exposure log.", "Name another file for --exposures.")

    def shown(self, user: str, variant: str) -> None:
        """user: hashed."""
        self._write(user, variant, {"lists": 1})

    def happened(self, user: str, variant: str, event: str, value: float | None) -> None:
        """An event of this user. value: what it was worth, where it was said."""
        self._write(user, variant, {OUTCOME_OF[event]: 1, "value": 0 if value is None else value})

    def _write(self, user: str, variant: str, counts: dict[str, float]) -> None:
        row = ",".join((user, variant, self._now(), *(f"{counts.get(name, 0):.10g}" for name in OUTCOMES)))
        line = f"{row}\n".encode()
        try:
            if self._file < 0:
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            written = os.write(self._file, line)
            if written < len(line):  # the disk is full: what is there of the row is ended, so that the next one stands alone
                os.write(self._file, b"\n")
                raise OSError("no space is left")
            self.problem = None
        except OSError as error:
            self.lost += 1
            self.problem = f"The exposure log cannot be written ({error.strerror or error}); {self.lost:,} rows are missing from it."
            self.close()

    def _now(self) -> str:
        second = int(self.clock())
        if second != self._at[0]:  # the same text for all rows of a second
            self._at = second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._at[1]

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
