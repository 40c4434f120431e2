"""One JSON line a request on standard error. Users appear only as a keyed hash, so that lines of one user can be found together and
nobody can be read off them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any, TextIO

SALT_VARIABLE = "RECSYS_SALT"


class Hasher:
    """Users as 16 hexadecimal digits, under a secret of this service."""

    def __init__(self, salt: bytes) -> None:
        self._salt = hashlib.blake2b(salt, digest_size=32).digest()

    def __call__(self, user: str) -> str:
        return hashlib.blake2b(user.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=8).hexdigest()


def salt_of(log: Path | None) -> bytes:
    """The secret: from RECSYS_SALT (replicas must share it), else kept beside the event log, else new."""
    given = os.environ.get(SALT_VARIABLE)
    if given:
        return given.encode()
    if log is None:
        return secrets.token_bytes(32)
    path = log.with_name(f"{log.name}.salt")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(own, path)  # whole or not at all: another worker that starts now must not read half a secret
        except FileExistsError:
            pass  # of an earlier start, or of another worker: users keep their hash
        finally:
            own.unlink(missing_ok=True)
    except OSError:
        return secrets.token_bytes(32)  # the folder cannot be written; the event log says so
    found = path.read_text().strip()
    return found.encode() if found else secrets.token_bytes(32)


class JsonLog:
    """Lines of JSON. quiet: requests that went well are left out."""

    def __init__(self, out: TextIO | None = None, quiet: bool = False) -> None:
        self._out, self.quiet, self._pid = out or sys.stderr, quiet, os.getpid()

    def __call__(self, event: str, **fields: Any) -> None:
        line = {"time": round(time.time(), 3), "event": event, "pid": self._pid, **fields}
        try:
            self._out.write(json.dumps(line, default=str) + "\n")
            self._out.flush()
        except (OSError, ValueError):
            self.quiet = True  # whoever read the lines is gone: answering matters more
