"""The store of a study: one file several processes append to, and one lock, which the system frees when its owner dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend

from ..errors import DataError

LOCK_SECONDS = 60
HINT = "Delete the search and start it again."


class _Lock:
    """Optuna's own locks stay behind for half a minute when their owner is killed; this one does not."""

    def __init__(self, lock: FileLock) -> None:
        self.lock = lock

    def acquire(self) -> bool:
        self.lock.acquire()
        return True

    def release(self) -> None:
        self.lock.release()


class Journal(JournalFileBackend):
    """Lines of JSON. A line that a killed process left half written is cut off before the next one is appended."""

    def __init__(self, path: Path) -> None:
        self.guard = FileLock(str(path.with_name(".lock")), timeout=LOCK_SECONDS)
        self.path = path
        super().__init__(str(path), lock_obj=_Lock(self.guard))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:  # a line in the middle, which no process that was killed leaves behind
            raise DataError(f"What this search has tried cannot be read: {self.path} is damaged ({error}).", HINT) from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with self.guard:
            self._mend()
            super().append_logs(logs)

    def _mend(self) -> None:
        with self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size == 0 or file.read(1) == b"\n":
                return
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
