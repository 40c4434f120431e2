"""Vectors of texts kept on disk by content: a text that was encoded once by a model is not encoded again.

`<cache>/text/<encoder>-<model>/` holds shards, one for each batch of new texts: npz files with `keys` (uint64 (n, 2), 16 bytes of hash
a text) and `vectors` (float32 (n, d)). Shards are only ever added, merged into a new one, or removed, each in one step; so two
processes at once at worst encode a text twice. What cannot be read is removed and encoded again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import uuid
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

LARGEST = 2 * 1024**3  # bytes of all encoders together; beyond, the shards longest unused go
SMALL = 64 * 1024**2  # shards below are merged
MOST_SMALL = 16  # small shards before they are merged
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class VectorCache:
    """The vectors of one pretrained model."""

    def __init__(self, root: Path, encoder: str, model: str) -> None:
        """model: content hash of the model."""
        self.root = Path(root) / "text"
        self.folder = self.root / f"{encoder}-{model[:24]}"

    def get(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(found (n,) of bool, vectors (n, d), zeros where not found; d is 0 when none is)."""
        wanted = keys_of(texts)
        found, out = np.zeros(len(texts), dtype=bool), np.zeros((len(texts), 0), dtype=np.float32)
        for path in self._shards():
            if found.all():
                break
            opened = _read(path, wanted)
            if opened is None or (out.shape[1] and opened[2].shape[1] != out.shape[1]):
                continue
            row, at, vectors = opened
            if not out.shape[1]:
                out = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
            out[row] = vectors[at]
            found[row] = True
        return found, out

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep these too. A disk that is full or read-only costs time later, not the work now."""
        if not len(texts):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder, keys_of(texts), np.ascontiguousarray(vectors, dtype=np.float32))
            self._merge()
            self._trim()
        except OSError as error:
            log.warning("Text vectors could not be kept in %s: %s", self.folder, error)

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz")) if self.folder.is_dir() else []

    def _merge(self) -> None:
        """Many small shards become one; the old ones go only after it stands."""
        small = [path for path in self._shards() if _size(path) < SMALL]
        if len(small) <= MOST_SMALL:
            return
        read = [(path, parts) for path in small if (parts := _load(path)) is not None]
        if not read:  # another process has merged them
            return
        width = max((parts[1].shape[1] for _, parts in read))
        read = [(path, parts) for path, parts in read if parts[1].shape[1] == width]
        keys = np.concatenate([parts[0] for _, parts in read])
        keys, first = np.unique(keys, axis=0, return_index=True)
        merged = _write(self.folder, keys, np.concatenate([parts[1] for _, parts in read])[first])
        for path, _ in read:
            if path != merged:
                path.unlink(missing_ok=True)

    def _trim(self) -> None:
        """The shards longest unused go until all encoders together keep within `LARGEST`; so do files of a write that was cut off."""
        for path in self.root.glob("*/*.tmp"):
            if _age(path) > 3600:
                path.unlink(missing_ok=True)
        kept = 0
        for path in sorted(self.root.glob("*/*.npz"), key=_age):
            kept += _size(path)
            if kept > LARGEST:
                path.unlink(missing_ok=True)


def keys_of(texts: Sequence[str]) -> np.ndarray:
    """uint64 (n, 2)."""
    digests = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").reshape(-1, 2)


def _write(folder: Path, keys: np.ndarray, vectors: np.ndarray) -> Path:
    path = folder / f"{hashlib.blake2b(keys.tobytes(), digest_size=12).hexdigest()}.npz"
    draft = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez(file, keys=keys, vectors=vectors)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _read(path: Path, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(which of the wanted it has, where, its vectors); None when it has none: then no vectors are read."""
    try:
        with np.load(path, allow_pickle=False) as shard:
            keys = shard["keys"]
            if keys.ndim != 2 or keys.shape[1] != 2 or not len(keys):
                raise ValueError("it holds no keys")
            order = np.argsort(keys[:, 0], kind="stable")
            at = order[np.minimum(np.searchsorted(keys[order, 0], wanted[:, 0]), len(order) - 1)]
            row = np.flatnonzero((keys[at] == wanted).all(axis=1))
            if not len(row):
                return None
            vectors = shard["vectors"]
            if vectors.shape[:1] != keys.shape[:1] or vectors.ndim != 2 or not np.isfinite(vectors).all():
                raise ValueError("its vectors do not fit its keys")
        with suppress(OSError):  # a workspace that may only be read serves too
            os.utime(path)  # used now
        return row, at[row], vectors
    except FileNotFoundError:  # merged or removed by another process a moment ago
        return None
    except UNREADABLE as error:
        _forget(path, error)
        return None


def _load(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as shard:
            return shard["keys"], shard["vectors"]
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        _forget(path, error)
        return None


def _forget(path: Path, error: Exception) -> None:
    log.warning("A file of cached text vectors cannot be read (%s) and is made anew: %s", error, path)
    try:
        path.unlink(missing_ok=True)
    except OSError as why:
        log.warning("It cannot be removed: %s", why)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
