"""From a file of any wrapping to one plain stream of bytes: gzip and zip are unpacked under a cap."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ...errors import DataError

BLOCK_BYTES = 1 << 24
MAX_UNPACKED_BYTES = 20 << 30
MAX_RATIO = 200  # real tables pack 3-20 fold, a bomb a thousand fold
FREE_RATIO_BYTES = 64 << 20  # below this size any ratio is harmless

DATA_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".tab", ".psv", ".gz", ".log", ".parquet", "")
_INTERACTIONS = re.compile(r"rating|interact|event|play|purchase|order|transaction|click|review|behavio|u\.data|train|log", re.I)

# first bytes -> (what it is, what to do)
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"%PDF", "a PDF document", ""),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Office file", "Open it in a spreadsheet program and save the sheet as CSV (UTF-8)."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it and give the file inside."),
    (b"Rar!", "a RAR archive", "Unpack it and give the file inside."),
    (b"BZh", "a bzip2 file", "Unpack it, or pack it with gzip or zip."),
    (b"\xfd7zXZ", "an xz file", "Unpack it, or pack it with gzip or zip."),
    (b"\x28\xb5\x2f\xfd", "a zstandard file", "Unpack it, or pack it with gzip or zip."),
    (b"\x7fELF", "a program", ""),
    (b"MZ\x90", "a program", ""),
    (b"\x93NUMPY", "a NumPy array", "Save the table as CSV or Parquet."),
    (b"\x89HDF", "an HDF5 file", "Save the table as CSV or Parquet."),
    (b"ORC\x00", "an ORC file", "Save the table as CSV or Parquet."),
    (b"ARROW1", "an Arrow file", "Save the table as CSV or Parquet."),
)
_USE = "Give a table of interactions as CSV, TSV or Parquet, plain or packed with gzip or zip."


def refuse_known(head: bytes, name: str) -> None:
    """Raise DataError when the first bytes say that this is something else than a table."""
    for magic, what, todo in _SIGNATURES:
        if head.startswith(magic):
            raise DataError(f"'{name}' is {what}, not a table.", todo or _USE)
    if head[257:262] == b"ustar":
        raise DataError(f"'{name}' is a tar archive.", "Unpack it and give the file inside.")
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise DataError(
            f"'{name}' is a web page or XML, not a table.", "Often a download link gave a log-in page: download the file itself."
        )
    if start.startswith((b"{", b"[{")):
        raise DataError(f"'{name}' is JSON, not a table.", "Save it as CSV or Parquet: one row for each interaction.")


def members_of(path: Path, name: str) -> tuple[str, ...]:
    """The data files inside a zip (folders, system files, read-me files left out), sorted; () for any other file."""
    if not is_zip(path):
        return ()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"The zip '{name}' is damaged and cannot be opened ({error}).", "Download or pack it again.") from None
    names = [entry.filename for entry in entries]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise DataError(
            f"'{name}' is an Excel or Office file, not a text table.", "Open it in a spreadsheet program and save the sheet as CSV (UTF-8)."
        )
    usable = sorted(e.filename for e in entries if not e.is_dir() and e.file_size and _is_data_name(e.filename))
    if not usable:
        raise DataError(f"The zip '{name}' holds no data file.", "Put one CSV, TSV or Parquet file into it.")
    return tuple(usable)


def _is_data_name(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    hidden = last.startswith(".") or name.startswith("__MACOSX")
    return not hidden and not re.match(r"read.?me|licen[cs]e|changelog", last, re.I) and os.path.splitext(last.lower())[1] in DATA_SUFFIXES


def choose_member(path: Path, members: tuple[str, ...]) -> str:
    """The member that looks most like interactions: by name, then by size."""
    with zipfile.ZipFile(path) as archive:
        sizes = {e.filename: e.file_size for e in archive.infolist()}
    return max(members, key=lambda m: (bool(_INTERACTIONS.search(m.rsplit("/", 1)[-1])), sizes.get(m, 0)))


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def file_hash(path: Path) -> str:
    """Content hash (32 hex) of the file as given, streamed."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def blocks(path: Path, member: str | None, name: str) -> Iterator[bytes]:
    """The unpacked bytes in blocks. Raises DataError on damage, encryption and on anything that grows past the caps."""
    if member is None:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        opener: Callable[[], BinaryIO] = partial(gzip.open if packed else open, path, "rb")
        yield from _read(opener, path.stat().st_size, name, capped=packed)
        return
    with zipfile.ZipFile(path) as archive:
        try:
            entry = archive.getinfo(member)
        except KeyError:
            raise DataError(f"The zip '{name}' has no file '{member}'.", f"It holds: {', '.join(archive.namelist()[:10])}.") from None
        if entry.flag_bits & 1:
            raise DataError(f"'{member}' in the zip '{name}' is protected by a password.", "Unpack it and give the file inside.")
        label = f"{name}/{member}"
        if member.lower().endswith(".gz"):
            yield from _read(lambda: gzip.GzipFile(fileobj=archive.open(entry)), max(1, entry.compress_size), label, capped=True)
        else:
            yield from _read(lambda: archive.open(entry), max(1, entry.compress_size), label, capped=True)


def _read(opener: Callable[[], BinaryIO], packed_bytes: int, name: str, *, capped: bool) -> Iterator[bytes]:
    total, limit = 0, int(os.environ.get("RECSYS_MAX_UNPACKED_BYTES", MAX_UNPACKED_BYTES))
    try:
        with opener() as file:
            while block := file.read(BLOCK_BYTES):
                total += len(block)
                if capped and (total > limit or total > max(FREE_RATIO_BYTES, MAX_RATIO * packed_bytes)):
                    raise DataError(
                        f"'{name}' unpacks to more than {min(limit, max(FREE_RATIO_BYTES, MAX_RATIO * packed_bytes)):,} bytes "
                        f"from {packed_bytes:,}: it looks like a zip bomb and was not read further.",
                        "If the file is sound, unpack it and give it unpacked.",
                    )
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"'{name}' is cut off or damaged and cannot be unpacked ({error}).", "Download or pack it again.") from None
    except OSError as error:
        raise DataError(f"'{name}' cannot be read ({error.strerror or error}).", "Check the file and its permissions.") from None
