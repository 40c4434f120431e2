"""Where the scorer of a workspace listens: one small file that only its owner may read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..jobs.process import is_alive
from ..store.files import read_json

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Endpoint:
    """port: on 127.0.0.1. token: to be sent with every request. version: of the code it runs. process:
    how to recognise it (pid and start time, see jobs.process)."""

    port: int
    token: str
    version: str
    process: dict[str, Any]

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return is_alive(self.process)


def endpoint_path(root: Path) -> Path:
    """The file of a workspace in which its scorer says where it listens."""
    return root / "scorer.json"


def read_endpoint(root: Path) -> Endpoint | None:
    """The endpoint that was written last, or None when there is none to be read."""
    found = read_json(endpoint_path(root))
    try:
        return Endpoint(int(found["port"]), str(found["token"]), str(found["version"]), dict(found["process"]))
    except (TypeError, KeyError, ValueError):
        return None


def write_endpoint(root: Path, endpoint: Endpoint) -> None:
    """Replace the file as a whole; it is never readable by others, not even for a moment."""
    path = endpoint_path(root)
    temporary = path.with_name(f".tmp-scorer-{uuid.uuid4().hex[:8]}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(endpoint), file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_endpoint(root: Path, token: str) -> None:
    """Take the file away if it is still the one with this token."""
    found = read_endpoint(root)
    if found is not None and found.token == token:
        with contextlib.suppress(FileNotFoundError):
            endpoint_path(root).unlink()


def code_version() -> str:
    """Changes when any source file of the package does: an old process must not answer for new code."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(PACKAGE.rglob("*.py")):
        status = path.stat()
        digest.update(f"{path.relative_to(PACKAGE)} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()
