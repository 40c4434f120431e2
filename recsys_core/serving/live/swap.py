"""The model in use, and how another takes its place: checked first, put in between two requests, taken out again when it fails."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadInput, WorkbenchError
from ...portable.bundle import Bundle
from ...portable.history import History
from .event_log import EventLog
from .predictor import Predictor

WATCHED, MOST_FAILED, LEAST_SAME = 200, 0.02, 0.9


def check(bundle: Bundle) -> None:
    """Ask a bundle for the lists it was made with. Raises BadInput when it does not give them (on this machine)."""
    same, asked = 0.0, 0
    for probe in bundle.manifest.get("probes") or ():
        history, expected = History.of(probe["items"], probe["values"]), list(probe["top"])
        codes, scores = bundle.best(history, len(expected))
        if not np.isfinite(scores).all():
            raise BadInput("The bundle gives scores that are no numbers.", "Make it again from its run.")
        same += len(set(codes.tolist()) & set(expected)) / max(1, len(expected))
        asked += 1
    if asked and same / asked < LEAST_SAME:
        raise BadInput(
            f"The bundle does not give the lists it was made with: {same / asked:.0%} of their items are the same here.",
            "Make it again, or compare the versions of numpy and onnxruntime.",
        )


class Live:
    """Serves from the bundle file `path` and follows it: `watch()` takes a new file up once it passes its checks.

    The file is copied to a spool folder before it is opened, so that one written over in place cannot hurt. problem: why the newest
    file is not in use, or None. log: makes an event log; every predictor reads one of its own from the beginning. A predictor that
    fails more than one in fifty of its first 200 answers gives way to the one before it.
    """

    def __init__(
        self,
        path: Path | str,
        log: Callable[[], EventLog | None] = lambda: None,
        *,
        fingerprint: str | None = None,
        spool: Path | None = None,
        make: Callable[[Bundle, EventLog | None], Predictor] = Predictor,
    ) -> None:
        self.path, self._log, self._make = Path(path), log, make
        self._own_spool = spool is None
        self._spool = Path(tempfile.mkdtemp(prefix="recsys-bundles-")) if spool is None else Path(spool)
        self._spool.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self.problem: str | None = None
        self.swaps = self.roll_backs = 0
        self._before: Predictor | None = None
        self._answers = self._failures = 0
        self._seen = _stamp(self.path)
        self._now = self._opened(fingerprint)

    @property
    def predictor(self) -> Predictor:
        """The one in use. A request takes it once and keeps it to its end."""
        return self._now

    @contextmanager
    def use(self) -> Iterator[Predictor]:
        """The predictor for one request. An unexpected error counts against a bundle that is new; what a caller asked wrongly does not."""
        predictor = self._now
        try:
            yield predictor
        except WorkbenchError:
            raise
        except Exception:
            self._count(predictor, failed=True)
            raise
        self._count(predictor, failed=False)

    def watch(self) -> bool:
        """Take the file up if it changed since it was last looked at; whether another bundle is in use now."""
        stamp = _stamp(self.path)
        if stamp == self._seen:
            return False
        with self._lock:
            self._seen = stamp
            if stamp is None:
                self.problem = f"The bundle file '{self.path.name}' is gone; the one that was loaded goes on serving."
                return False
            try:
                fresh = self._opened(None)
            except OSError as error:  # a full disk, say: nothing is wrong with the bundle, so look at it again
                self.problem, self._seen = f"A new bundle was not taken up: {error.strerror or error}.", None
                return False
            except WorkbenchError as error:
                self.problem = f"A new bundle was not taken up: {error}"
                return False
            except Exception as error:  # whatever a foreign file does to numpy or onnxruntime: the old one serves on
                self.problem = f"A new bundle was not taken up: it cannot be used ({type(error).__name__})."
                return False
            if fresh.bundle.fingerprint == self._now.bundle.fingerprint:
                self.problem = None
                if fresh.log is not None:
                    fresh.log.close()
                return False
            fresh.adopt(self._now)
            self._retire(self._before)
            self._before, self._now = self._now, fresh
            self._answers = self._failures = 0
            self.swaps, self.problem = self.swaps + 1, None
            return True

    def roll_back(self, why: str) -> bool:
        """Back to the predictor before the last swap; False where there is none."""
        with self._lock:
            if self._before is None:
                return False
            self._before.adopt(self._now)
            self._retire(self._now)
            self._now, self._before = self._before, None
            self.roll_backs += 1
            self.problem = f"The newest bundle was taken out again: {why}"
            return True

    def close(self) -> None:
        """Remove the copies; what is mapped stays readable to its end."""
        if self._own_spool:
            shutil.rmtree(self._spool, ignore_errors=True)

    def as_dict(self) -> dict[str, Any]:
        """For /health."""
        manifest = self._now.bundle.manifest
        return {
            "fingerprint": self._now.bundle.fingerprint,
            "model": manifest.get("model", {}).get("label"),
            "run": (manifest.get("run") or {}).get("name"),
            "variant": manifest.get("variant"),
            "items": self._now.bundle.n_items,
            "swaps": self.swaps,
            "roll_backs": self.roll_backs,
            "problem": self.problem,
        }

    def _retire(self, predictor: Predictor | None) -> None:
        """Give back the files of one nobody asks any more. A request still at work opens the log again; events that wait are kept."""
        if predictor is None:
            return
        if predictor.log is not None and predictor.log.flush():
            predictor.log.close()
        if self._own_spool:  # what is mapped stays readable; a spool that is shared is its owner's to tidy
            predictor.bundle.archive.path.unlink(missing_ok=True)

    def _opened(self, fingerprint: str | None) -> Predictor:
        copy = _copied(self.path, self._spool)
        try:
            bundle = Bundle.open(copy, fingerprint=fingerprint)
        except WorkbenchError as error:  # of the file that was given, not of its copy
            raise type(error)(error.message.replace(copy.name, self.path.name), error.hint) from None
        check(bundle)
        predictor = self._make(bundle, self._log())
        predictor.catalogue.content  # noqa: B018 - the columns of a large catalogue take seconds to read: before anybody waits for it
        return predictor

    def _count(self, predictor: Predictor, *, failed: bool) -> None:
        if self._before is None or predictor is not self._now or (self._answers >= WATCHED and not failed):
            return
        self._answers += 1
        self._failures += failed
        if self._failures > max(1, math.floor(MOST_FAILED * WATCHED)) or (self._answers >= 20 and self._failures / self._answers > 0.25):
            self.roll_back(f"{self._failures} of its first {self._answers} answers failed.")
        elif self._answers >= WATCHED:
            self._retire(self._before)  # it has proved itself; the old one may go
            self._before = None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def _copied(path: Path, spool: Path) -> Path:
    """A copy under the name of its content; processes that share a spool share it."""
    temporary = spool / f".tmp-{os.getpid()}-{threading.get_ident()}"
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file, open(temporary, "wb") as out:
            while block := file.read(2**22):  # named by what was copied, even if the file changes meanwhile
                digest.update(block)
                out.write(block)
        target = spool / f"{digest.hexdigest()[:32]}.zip"
        os.replace(temporary, target)
    except FileNotFoundError:
        raise BadInput(f"There is no file '{path}'.", "Give the path of a bundle.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return target
