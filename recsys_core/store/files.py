"""Small, careful file work: atomic writes, staged folders, names, sizes. Nothing here knows what is stored.

A reader sees the old file or the new one, never half of either: everything is written under a
temporary name beside its place and moved there by one `os.replace`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
import os
import re
import shutil
import socket
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from ..errors import BadInput

STAGED, TRASH = ".tmp-", ".trash-"
ABANDONED_SECONDS = 24 * 3600  # a staged folder of another machine, untouched for this long, is rubbish


def now() -> str:
    """The time as ISO text in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def plain(value: Any) -> Any:
    """A JSON-able copy of dataclasses, pydantic models, numpy values and frames; NaN and infinity become None."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def write_text(path: Path, text: str) -> None:
    """Replace a small file as a whole."""
    temporary = path.with_name(f"{STAGED}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file as a whole."""
    write_text(path, json.dumps(plain(value), indent=1, ensure_ascii=False))


def read_json(path: Path) -> Any:
    """The content, or None when there is no such file or it is not JSON (a foreign or broken file)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


_read: dict[Path, tuple[tuple[int, int, int], Any]] = {}


def read_json_cached(path: Path) -> Any:
    """`read_json`, read again only when the file was replaced. Do not change what you get."""
    try:
        status = path.stat()
    except OSError:
        _read.pop(path, None)
        return None
    stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    known = _read.get(path)
    if known is None or known[0] != stamp:
        known = _read[path] = (stamp, read_json(path))
    return known[1]


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` in one step when the block ends well, and vanishes otherwise.

    When `target` came into being meanwhile (the same content, written by another process), that one stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{STAGED}{host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        yield temporary
        if temporary.exists():  # else the block has moved it itself
            move_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def staged_file(target: Path) -> Iterator[IO[bytes]]:
    """A temporary file that becomes `target` in one step when the block ends well, and vanishes otherwise."""
    temporary = target.parent / f"{STAGED}{host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def move_folder(folder: Path, target: Path) -> bool:
    """Put a finished folder in its place in one step; False when there is one already, which then stays."""
    try:
        os.replace(folder, target)
    except OSError:
        if not target.is_dir():
            raise
        return False
    return True


def remove_folder(folder: Path) -> None:
    """Take a folder away in one step, then free its space."""
    trash = folder.parent / f"{TRASH}{uuid.uuid4().hex[:8]}"
    try:
        os.replace(folder, trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def clean(parent: Path) -> int:
    """Remove what crashed processes left half-written below `parent`; the number of things removed."""
    import time

    import psutil

    removed = 0
    for path in parent.glob(".t*") if parent.is_dir() else ():
        if path.name.startswith(STAGED):
            owner = re.fullmatch(re.escape(STAGED) + r"(.+)-(\d+)-[0-9a-f]{8}(?:\.\w+)?", path.name)
            ours = owner is not None and owner[1] == host()
            alive = ours and psutil.pid_exists(int(owner[2]))
            try:
                age_seconds = time.time() - path.stat().st_mtime
            except OSError:
                continue
            if alive or (not ours and age_seconds < ABANDONED_SECONDS):
                continue
        elif not path.name.startswith(TRASH):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed += 1
    return removed


@cache
def host() -> str:
    """This machine's name, safe in a file name."""
    return re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:40] or "host"


def size_bytes(path: Path) -> int:
    """Bytes of a file or of everything in a folder; a file with several names is counted once."""
    if path.is_file():
        return path.stat().st_size
    total, seen = 0, set()
    for base, _, names in os.walk(path):
        for name in names:
            try:
                status = os.stat(os.path.join(base, name))
            except OSError:
                continue
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_size
    return total


def clean_name(text: str, *, what: str = "name") -> str:
    """A name a person gave, fit to be shown and stored: no control or direction characters, at most 80 long."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Zs") else c for c in unicodedata.normalize("NFC", str(text)))
    shown = "".join(c for c in shown if unicodedata.category(c) not in ("Cf", "Cs", "Cn", "Co"))
    shown = re.sub(r" +", " ", shown).strip()[:80].strip()
    if not shown:
        raise BadInput(f"A {what} needs at least one visible character; got {text!r}.", "Type a name.")
    return shown


def unique_name(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or `wanted (2)`, `wanted (3)` … when it is taken (case does not count)."""
    used = {name.casefold() for name in taken}
    name, number = wanted, 1
    while name.casefold() in used:
        number += 1
        name = f"{wanted[:74]} ({number})"
    return name


def json_object(line: str) -> dict[str, Any] | None:
    """What a line of JSON holds; None where it is no object, or still being written."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def tail_lines(path: Path, size: int = 8192) -> list[str]:
    """The whole lines among the last `size` bytes; none where the file cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            start = max(0, file.tell() - size)
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[1:] if start else lines
