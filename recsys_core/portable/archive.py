"""The file of a bundle: a zip whose arrays are mapped into memory as they lie, and whose every byte is checked before it is used.

Members are stored uncompressed and aligned, so that processes that open one file share its pages and opening costs no copy.
`manifest.json` names the SHA-256 of every member, `checksum` that of the manifest: the fingerprint of the whole bundle. A changed byte is
found by it. Who must fear somebody that also makes a new checksum pins the fingerprint (`Archive.open(…, fingerprint=…)`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import math
import os
import stat
import struct
import uuid
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import BadInput
from .graphs import outside

FORMAT = 1
MANIFEST, CHECKSUM = "manifest.json", "checksum"
ALIGNMENT, ALIGNMENT_FIELD = 64, 0xD935  # the extra field zipalign uses: a length, then padding
MOST_MEMBERS, MOST_JSON_BYTES = 10_000, 64 * 2**20
HASH_BLOCK = 2**22


def write_archive(path: Path, manifest: Mapping[str, Any], members: Mapping[str, np.ndarray | bytes]) -> str:
    """Write a bundle in one step (a temporary file, then a rename) and return its fingerprint. manifest: JSON-able; what it says of its
    members is filled in here."""
    path = Path(path)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:8]}-{path.name}")
    about: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, value in members.items():
                content = value if isinstance(value, bytes) else _npy(value)
                _store(archive, name, content)
                about[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            text = json.dumps({**manifest, "format": FORMAT, "members": about}, indent=1, ensure_ascii=False, allow_nan=False).encode()
            _store(archive, MANIFEST, text)
            fingerprint = hashlib.sha256(text).hexdigest()
            _store(archive, CHECKSUM, fingerprint.encode())
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return fingerprint


class Archive:
    """An opened bundle file. manifest: what it says of itself; fingerprint: SHA-256 of that, which covers all members.

    Arrays are views of the mapped file: a file that is replaced (renamed over) stays as it was for those who have it open, but one
    that is written into does not. A server opens a copy of its own.
    """

    def __init__(self, path: Path, file: BinaryIO, manifest: dict[str, Any], fingerprint: str, places: dict[str, tuple[int, int]]) -> None:
        self.path, self.manifest, self.fingerprint = path, manifest, fingerprint
        self._places = places  # member -> (offset, bytes)
        self._map = np.memmap(file, dtype=np.uint8, mode="r")  # of what was checked, whatever stands at its path by now

    @classmethod
    def open(cls, path: Path | str, *, fingerprint: str | None = None) -> Archive:
        """Check every byte, then map. fingerprint: refuse any other bundle than this one.

        Raises BadInput with the reason when the file is no bundle, is damaged, was changed, or is of a newer format.
        """
        path = Path(path)
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context(open(path, "rb"))
                places = _places(file)
            except FileNotFoundError:
                raise BadInput(f"There is no file '{path}'.", "Give the path of a bundle.") from None
            except (OSError, zipfile.BadZipFile, ValueError, struct.error, EOFError, NotImplementedError, OverflowError) as error:
                said = str(error)[:200]
                raise BadInput(f"'{path.name}' is not a bundle, or it is damaged ({said}).", "Make it again from its run.") from error
            return cls._checked(path, file, places, fingerprint)

    @classmethod
    def _checked(cls, path: Path, file: BinaryIO, places: dict[str, tuple[int, int]], fingerprint: str | None) -> Archive:
        if MANIFEST not in places or CHECKSUM not in places:
            raise BadInput(f"'{path.name}' is a zip file but no bundle: it has no {MANIFEST}.", "Give a file that `bundle` made.")
        text, said = (_read(file, *places[name]) for name in (MANIFEST, CHECKSUM))
        found = hashlib.sha256(text).hexdigest()
        if not hmac.compare_digest(found.encode(), said.strip()):
            raise BadInput(f"'{path.name}' was changed after it was made: its manifest does not match its checksum.", _AGAIN)
        if fingerprint is not None and not hmac.compare_digest(found.encode(), fingerprint.strip().lower().encode()):
            raise BadInput(f"'{path.name}' is not the bundle that was asked for: its fingerprint is {found[:12]}….", _AGAIN)
        try:
            manifest = json.loads(text)
            members = {str(name): str(about["sha256"]).encode() for name, about in dict(manifest["members"]).items()}
            number = int(manifest["format"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise BadInput(f"'{path.name}' has a manifest that cannot be read.", _AGAIN) from error
        if number > FORMAT:
            raise BadInput(f"'{path.name}' has format {number}; this version reads up to {FORMAT}.", "Update the workbench.")
        if set(places) != set(members) | {MANIFEST, CHECKSUM}:
            raise BadInput(f"'{path.name}' does not hold what its manifest names.", _AGAIN)
        for name, wanted in members.items():
            if not hmac.compare_digest(_digest(file, *places[name]).encode(), wanted):
                raise BadInput(f"'{path.name}' is damaged or was changed: the checksum of '{name}' is wrong.", _AGAIN)
        opened = cls(path, file, manifest, found, places)
        for name in members:
            if name.endswith(".onnx") and (why := outside(memoryview(opened._bytes(name)))) is not None:
                raise BadInput(f"'{path.name}' is refused: its network '{name[:80]}' {why}.", _AGAIN)
        return opened

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def read(self, name: str) -> bytes:
        """A member as bytes."""
        return self._bytes(name).tobytes()

    def json(self, name: str) -> Any:
        """A member that is JSON."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"'{name}' in '{self.path.name}' cannot be read as JSON.", _AGAIN) from error

    def array(self, name: str) -> np.ndarray:
        """A member `<name>.npy`, read-only, mapped."""
        offset, size = self._place(f"{name}.npy")
        header = io.BytesIO(self._map[offset : offset + min(size, 4096)].tobytes())
        try:
            version = np.lib.format.read_magic(header)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(header)
        except ValueError as error:
            raise BadInput(f"'{name}' in '{self.path.name}' is no array.", _AGAIN) from error
        if dtype.hasobject:
            raise BadInput(f"'{self.path.name}' holds objects in '{name}', which is not allowed.", _AGAIN)
        count = math.prod(shape)
        if count * dtype.itemsize != size - header.tell():  # else it would be read out of its neighbours
            raise BadInput(f"'{name}' in '{self.path.name}' is not as large as it says.", _AGAIN)
        flat = np.frombuffer(self._map, dtype, count=count, offset=offset + header.tell())
        return flat.reshape(shape, order="F" if fortran else "C")

    @property
    def size_bytes(self) -> int:
        return len(self._map)

    def _bytes(self, name: str) -> np.ndarray:
        offset, size = self._place(name)
        return self._map[offset : offset + size]

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._places:
            raise BadInput(f"'{self.path.name}' has no '{name}'.", _AGAIN)
        return self._places[name]


_AGAIN = "Make the bundle again from its run, or take it from where you trust it."


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """A member whose content starts at a multiple of 64 bytes, as numpy's vector instructions like it."""
    info = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))  # the same content gives the same file
    start = archive.fp.tell() + 30 + len(name.encode()) + 4
    padding = -start % ALIGNMENT
    info.extra = struct.pack("<HH", ALIGNMENT_FIELD, padding) + bytes(padding)
    archive.writestr(info, content)


def _places(file: BinaryIO) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    with zipfile.ZipFile(file) as archive:
        listed = archive.infolist()
        if len(listed) > MOST_MEMBERS:
            raise ValueError(f"it has {len(listed):,} members")
        size = file.seek(0, os.SEEK_END)
        for info in listed:
            name = info.filename
            if why := _refused(info):
                raise ValueError(f"'{name[:80]}' {why}")
            if info.compress_type != zipfile.ZIP_STORED or name in places:
                raise ValueError(f"'{name[:80]}' is compressed or there twice")
            file.seek(info.header_offset)
            head = file.read(30)
            names, extra = struct.unpack("<HH", head[26:30])
            offset = info.header_offset + 30 + names + extra
            if head[:4] != b"PK\x03\x04" or offset + info.file_size > size or info.compress_size != info.file_size:
                raise ValueError(f"'{name[:80]}' is cut short")
            places[name] = (offset, info.file_size)
    # Every byte belongs to one member: ten thousand of them on the same gigabyte would take hours to check.
    ordered = sorted((offset, offset + length, name) for name, (offset, length) in places.items())
    for (_, end, _), (start, _, name) in pairwise(ordered):
        if start < end:
            raise ValueError(f"'{name[:80]}' lies inside another member")
    return places


def _refused(info: zipfile.ZipInfo) -> str | None:
    """What is wrong with a member's name or kind, whatever it holds. Nothing is ever unpacked: who would unpack it is kept safe, too."""
    name = info.filename
    if info.flag_bits & 0x1:
        return "is encrypted"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or name.endswith("/"):
        return "is a link or a folder, not a file"
    if "\\" in name or ":" in name or not name.isprintable() or any(part in ("", ".", "..") for part in name.split("/")):
        return "has a name that leads out of the bundle"
    return None


def _read(file, offset: int, size: int) -> bytes:
    if size > MOST_JSON_BYTES:
        raise BadInput("The manifest of this bundle is too large to be one.", _AGAIN)
    file.seek(offset)
    return file.read(size)


def _digest(file, offset: int, size: int) -> str:
    file.seek(offset)
    digest, left = hashlib.sha256(), size
    while left > 0:
        block = file.read(min(HASH_BLOCK, left))
        if not block:
            break
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()
