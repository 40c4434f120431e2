"""The log of events: one checked line an event, added to the end of one file, whoever writes.

Several processes may write one file: each line goes out in a single append, and `fresh` gives what all of them wrote since it was last
asked.
A line is `\\n<crc32> <json>\\n`: the line break before it parts it from a line that was torn when its writer died. What was written is
safe from a killed process at once, and from a power cut after the next sync (0.2 s, or at once with sync="always").
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
import time
import zlib
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ...errors import BadInput
from ...portable.ids import hash_of
from .records import Event

SYNC_SECONDS, RETRY_SECONDS, LOOK_SECONDS = 0.2, 1.0, 1.0
READ_BYTES, MOST_WAITING, MOST_READ_BACK = 2**20, 100_000, 5_000
TAIL_BYTES = 512
NO_SYNC = (errno.EBADF, errno.EINVAL, errno.EROFS, errno.ENOTSUP)


class EventLog:
    """problem: a sentence while events cannot be written, else None; they then wait in memory (at most 100,000, the oldest give way) and
    are written with the next one that can be. skipped: lines that were torn or damaged. Thread-safe."""

    def __init__(self, path: Path | str, *, sync: Literal["interval", "always"] = "interval") -> None:
        self.path, self.sync = Path(path), sync
        self.problem: str | None = None
        self.skipped = self.lost = 0
        self._waiting: deque[bytes] = deque()
        self._looked = 0.0
        self._lock = threading.Lock()
        self._file = -1
        self._read = -1
        self._read_to = self.begins = 0
        self._index: dict[int, array[int]] = {}
        self._dirty, self._closed = threading.Event(), threading.Event()
        self._syncer: threading.Thread | None = None

    # ---- writing -----------------------------------------------------------------------------------
    def append(self, event: Event) -> int:
        """The offset of the event in the file, or -1: it waits in memory, and `problem` says why. Raises BadInput for one that cannot be
        written down."""
        line = _line(event)
        with self._lock:
            self._look_after_file()
            if not self._waiting:
                offset = self._write(line)
                if offset >= 0:
                    return offset
            self._waiting.append(line)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self.lost += 1
            return self._catch_up()

    def flush(self) -> bool:
        """Write what waits and sync; whether nothing waits any more."""
        with self._lock:
            self._catch_up()
            self._sync_now()
            return not self._waiting

    def _catch_up(self) -> int:
        """Write what waits, oldest first; the offset of the last, -1 where that cannot be written."""
        offset = -1
        while self._waiting:
            offset = self._write(self._waiting[0])
            if offset < 0:
                self._sync_later()  # which tries again
                return -1
            self._waiting.popleft()
        return offset

    @property
    def waiting(self) -> int:
        """Events that are not on disk yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Write and sync what is left. The log can be used again."""
        self.flush()
        self._closed.set()
        self._dirty.set()
        with self._lock:
            for name in ("_file", "_read"):
                if getattr(self, name) >= 0:
                    os.close(getattr(self, name))
                    setattr(self, name, -1)

    def _write(self, line: bytes) -> int:
        try:
            if self._file < 0:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(f"only {written} of {len(line)} bytes could be written")
            end = os.lseek(self._file, 0, os.SEEK_CUR)  # where this very append ended, whoever else writes
        except OSError as error:
            self.problem = f"Events cannot be written to {self.path.name} ({error.strerror or error}); they are kept in memory for now."
            if self._file >= 0:
                with contextlib.suppress(OSError):
                    os.close(self._file)
            self._file = -1
            return -1
        self.problem = None
        if self.sync == "always":
            self._sync_now()
        else:
            self._sync_later()
        return end - len(line) + 1  # behind the line break it begins with

    def _sync_now(self) -> None:
        if self._file < 0:
            return
        try:
            os.fdatasync(self._file)
        except OSError as error:
            if error.errno not in NO_SYNC:  # of a file that is closed meanwhile, or a pipe
                self.problem = f"Events cannot be synced to disk ({error.strerror}); a power cut could lose the newest."

    def _sync_later(self) -> None:
        if self._syncer is None or not self._syncer.is_alive():
            self._closed.clear()
            self._syncer = threading.Thread(target=self._keep_synced, name="event-log-sync", daemon=True)
            self._syncer.start()
        self._dirty.set()

    def _keep_synced(self) -> None:
        while not self._closed.is_set():
            self._dirty.wait()
            self._dirty.clear()
            self._sync_now()
            self._closed.wait(RETRY_SECONDS if self._waiting else SYNC_SECONDS)
            if self._waiting and not self._closed.is_set():
                with self._lock:
                    self._catch_up()

    def _look_after_file(self) -> None:
        """Where the file was moved away or deleted, write to a new one: nobody would find what goes on to be written to the old."""
        held = self._file if self._file >= 0 else self._read
        if held < 0 or time.monotonic() < self._looked + LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            now = os.stat(self.path)
            same = os.path.samestat(now, os.fstat(held))
        except OSError:
            same = False
        if not same:
            self._forget_file()

    def _forget_file(self) -> None:
        for name in ("_file", "_read"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
        self._read_to = self.begins = 0
        self._index.clear()

    # ---- reading -----------------------------------------------------------------------------------
    def fresh(self, most: int = 50_000) -> list[tuple[int, Event]]:
        """(offset, event) of what was written since the last call, by this process and others, in the order of the file; at most `most`,
        ask again until there are none. Cost where there are none: 1 µs."""
        with self._lock:
            self._look_after_file()
            try:
                if self._read < 0:
                    self._read = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                size = os.fstat(self._read).st_size
                if size < self._read_to:  # emptied by hand: from the beginning
                    self._read_to = self.begins = 0
                    self._index.clear()
                if size <= self._read_to:
                    return []
                found: list[tuple[int, Event]] = []
                for offset, event, after in self._lines(self._read, self._read_to):
                    self._read_to = after
                    if event is None:
                        self.skipped += 1
                        continue
                    found.append((offset, event))
                    self._index.setdefault(hash_of(event.user), array("q")).append(offset)
                    if len(found) >= most:
                        break
                return found
            except FileNotFoundError:
                return []
            except OSError as error:
                self.problem = f"Events cannot be read from {self.path.name} ({error.strerror or error})."
                return []

    def of(self, user: str) -> list[tuple[int, Event]]:
        """(offset, event) of one user, oldest first, of what `fresh` has given; at most the newest 5,000."""
        with self._lock:
            try:
                offsets = list(self._index.get(hash_of(user), ()))[-MOST_READ_BACK:]
                found = [(offset, next(self._lines(self._read, offset), None)) for offset in offsets]
            except OSError as error:
                self.problem = f"Events cannot be read from {self.path.name} ({error.strerror or error})."
                return []
            return [(offset, line[1]) for offset, line in found if line is not None and line[1] is not None and line[1].user == user]

    def begin_after(self, updated: Mapping[str, Any]) -> None:
        """Set `begins`: where what an update did not take in begins; 0 where this is not the file it read. updated: of its manifest."""
        until, tail = int(updated.get("until") or 0), updated.get("tail")
        self.begins = until if (tail_of(self.path, until) == tail if tail else self.ends_at(until)) else 0

    def ends_at(self, offset: int) -> bool:
        """Whether a line ends just there: whether this can be the file in which somebody read up to that place."""
        try:
            with open(self.path, "rb") as file:
                file.seek(max(0, offset - 1))
                around = file.read(2)
        except OSError:
            return offset == 0
        return offset == 0 or around in (b"\n", b"\n\n")

    @property
    def users(self) -> int:
        """How many different users are in what was read."""
        return len(self._index)

    @staticmethod
    def _lines(file: int, start: int) -> Iterator[tuple[int, Event | None, int]]:
        """(offset, event or None where damaged, offset behind it) of every whole line."""
        at, rest = start, b""
        while block := os.pread(file, READ_BYTES if at > start or start == 0 else 4096, at):
            begin, at = at - len(rest), at + len(block)
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                offset, begin = begin, begin + len(line) + 1
                if line:
                    yield offset, _event(line), begin


def read_events(path: Path | str, start: int = 0) -> tuple[list[Event], int, int]:
    """(events, damaged lines, offset behind the last whole line) of a log file, from an offset on; for those who only read."""
    file = os.open(path, os.O_RDONLY)
    try:
        events, damaged, end = [], 0, start
        for _, event, end in EventLog._lines(file, start):  # noqa: B007 - the last one is wanted
            if event is None:
                damaged += 1
            else:
                events.append(event)
        return events, damaged, end
    finally:
        os.close(file)


def tail_of(path: Path | str, until: int) -> str:
    """A hash of what stands before a place in a file, by which another file is told from it; "" where it cannot be read or is shorter."""
    start = max(0, until - TAIL_BYTES)
    try:
        with open(path, "rb") as file:
            file.seek(start)
            found = file.read(until - start)
    except OSError:
        return ""
    return hashlib.sha256(found).hexdigest() if len(found) == until - start else ""


def _line(event: Event) -> bytes:
    said: dict[str, Any] = {"u": event.user, "i": event.item, "e": event.event, "t": event.time}
    said |= {} if event.value is None else {"v": event.value}
    said |= {} if event.features is None else {"f": dict(event.features)}
    said |= {} if event.hit is None else {"h": int(event.hit), "b": event.by}
    try:
        text = json.dumps(said, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"The event cannot be written down ({error}).", "Send text and finite numbers.") from None
    return b"\n%08x %b\n" % (zlib.crc32(text), text)


def _event(line: bytes) -> Event | None:
    if len(line) < 10 or line[8:9] != b" ":
        return None
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]):
            return None
        said = json.loads(line[9:])
        told = (said["u"], said["i"], said["e"], said.get("v"), said["t"], said.get("f"))
        return Event(*told, None if said.get("h") is None else bool(said["h"]), str(said.get("b", ""))).checked()
    except (ValueError, KeyError, TypeError, BadInput):
        return None
