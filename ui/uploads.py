"""Files on their way in: written to disk at once, known by a token in the URL, gone a day later.

An uploaded file lives in `<workspace>/uploads/<token>/<part>/<name>`; a file on the server is only
pointed at. Nothing of a file is kept in session state, so a refresh loses nothing.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recsys_core.errors import BadInput, NotFound

from . import state

PARTS = ("main", "items", "users")
KEEP_SECONDS = 24 * 3600
MAX_LISTED = 500
SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab", ".psv", ".gz", ".zip", ".parquet", ".log", "")


@dataclass(frozen=True)
class Upload:
    """One file, or a file with an item and a user table beside it."""

    token: str
    folder: Path

    def path(self, part: str = "main") -> Path | None:
        """Where the file of a part is, or None when there is none."""
        pointer = self.folder / part / ".server"
        if pointer.exists():
            return server_path(json.loads(pointer.read_text())["path"])
        return next((p for p in sorted((self.folder / part).glob("*")) if p.is_file()), None) if (self.folder / part).is_dir() else None

    def name(self, part: str = "main") -> str:
        found = self.path(part)
        return found.name if found else ""

    def owns(self, part: str = "main") -> bool:
        """Whether the file is a copy of ours, not one of the server folder."""
        return not (self.folder / part / ".server").exists()

    def put(self, part: str, name: str, content: BinaryIO) -> Path:
        """Write a file (in place of an earlier one of this part)."""
        place = self._place(part) / safe_name(name)
        with place.open("wb") as out:
            shutil.copyfileobj(content, out, 1 << 22)
        return place

    def point(self, part: str, relative: str) -> Path:
        """Use a file of the server folder, without a copy."""
        found = server_path(relative)
        (self._place(part) / ".server").write_text(json.dumps({"path": relative}))
        return found

    def take_out(self, part: str) -> None:
        shutil.rmtree(self.folder / part, ignore_errors=True)

    def drop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _place(self, part: str) -> Path:
        if part not in PARTS:
            raise BadInput(f"An upload has the parts {', '.join(PARTS)}; got '{part}'.")
        self.take_out(part)
        (self.folder / part).mkdir(parents=True)
        return self.folder / part


def new() -> Upload:
    """An empty upload; old ones are cleared away on the way."""
    clear_old()
    token = secrets.token_hex(8)
    folder = _root() / token
    folder.mkdir(parents=True)
    return Upload(token, folder)


def find(token: str | None) -> Upload | None:
    """The upload of a token, or None when it is unknown, malformed or gone."""
    if not token or not re.fullmatch(r"[0-9a-f]{16}", token):
        return None
    upload = Upload(token, _root() / token)
    try:
        return upload if upload.path() else None
    except (NotFound, BadInput, OSError, ValueError):
        return None


def clear_old(now: float | None = None) -> int:
    """Remove uploads nobody saved within a day; how many went."""
    limit, gone = (now or time.time()) - KEEP_SECONDS, 0
    for folder in _root().glob("*") if _root().is_dir() else ():
        if folder.is_dir() and folder.stat().st_mtime < limit:
            shutil.rmtree(folder, ignore_errors=True)
            gone += 1
    return gone


def safe_name(name: str) -> str:
    """The last part of a file name from a browser, without characters that mean something to a file system."""
    last = re.split(r"[\\/]", str(name))[-1]
    kept = re.sub(r"[\x00-\x1f<>:\"|?*\[\]{}]", "_", last).strip(". ")
    return kept[-120:] or "file"


# ---- the folder on the server --------------------------------------------------------------------
def server_folder() -> Path | None:
    """The folder named in RECSYS_DATA_DIR, or None when none is set up."""
    wanted = os.environ.get("RECSYS_DATA_DIR")
    return Path(wanted).resolve() if wanted and Path(wanted).is_dir() else None


def server_files() -> list[str]:
    """Data files below the server folder, as relative paths; links that lead out of it are left out."""
    folder = server_folder()
    if folder is None:
        return []
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(base) / name
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.resolve().is_relative_to(folder) and path.is_file():
                found.append(str(path.relative_to(folder)))
        if len(found) >= MAX_LISTED:
            break
    return found[:MAX_LISTED]


def server_path(relative: str) -> Path:
    """A file below the server folder. Refuses paths and links that lead out of it."""
    folder = server_folder()
    if folder is None:
        raise NotFound("No folder for server files is set up.", "Start the app with RECSYS_DATA_DIR set to a folder.")
    text = str(relative).strip()
    try:
        path = (folder / text).resolve()
    except (OSError, ValueError):
        path = folder
    if not text or "\x00" in text or path == folder or not path.is_relative_to(folder):
        raise BadInput(
            f"Only files below the configured folder can be read; got '{text}'.", "Give a path relative to that folder, without '..'."
        )
    if not path.is_file():
        raise NotFound(f"There is no file '{text}' below the configured folder.", "Check the spelling; paths are relative to that folder.")
    return path


def _root() -> Path:
    return state.root() / "uploads"
