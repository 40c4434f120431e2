"""Pretrained sentence encoders: vectors by meaning, through the sentence-transformers interface."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from ...context import QUIET, RunContext
from ...errors import Unsupported, WorkbenchError
from . import _pretrained
from ._base import TextEncoder
from ._cache import VectorCache

log = logging.getLogger(__name__)

BATCH = 64  # texts
BATCH_CHARACTERS = 16_000  # of long texts fewer, so that a batch is over in seconds
KEEP_EVERY = 2_048  # texts after which new vectors are written to the cache: what was done stays when the work is cut off
LEAST = 1e-6


class Sentence(TextEncoder):
    """A pretrained network reads each text; principal components, learnt from the texts of the table, bring its vectors to `size`.

    Source: Reimers & Gurevych (2019), Sentence-BERT; by default all-MiniLM-L6-v2 (384 numbers a text).
    Differs: vectors are brought to the mean of this table's texts before they are reduced, and to unit length after: what all texts
        share, which is most of a raw vector, says nothing about any of them.
    Shapes: n texts -> float32 (n, size); size is at most the model's and, for few texts, one less than their number.
    Cost: some 10 to 20 ms of one core a title, ten times that for a long description; see benchmarks/README.md. Once a text: vectors
        are cached in the workspace by content.
    """

    key = "sentence"
    label = "Sentence encoder"
    summary = "A network trained on sentences elsewhere: finds texts that mean the same in other words; an extra to install, slower."
    pretrained = True

    def __init__(self, model: str, identity: str, mean: np.ndarray, components: np.ndarray) -> None:
        self.model, self.identity, self.mean, self.components = model, identity, mean, components
        self.size = len(components)
        self._fitted: tuple[list[str], np.ndarray] | None = None  # raw vectors of the fit, where no cache keeps them

    @classmethod
    def unavailable(cls) -> str:
        return _pretrained.no_library()

    @classmethod
    def fit(cls, texts: Sequence[str], ctx: RunContext = QUIET, *, size: int = 64, model: str = "") -> Self:
        """model: a folder, a hub name, or "" for the packaged one."""
        if why := cls.unavailable():
            raise Unsupported(why, "Or choose TF-IDF.")
        ctx.report("Texts", 0.0, "Looking for the sentence encoder")
        identity = _pretrained.identity_of(_pretrained.folder_of(model))
        texts = list(dict.fromkeys(text for text in texts if text.strip()))
        out = cls(model, identity, np.zeros(1, np.float32), np.ones((1, 1), np.float32))
        if texts:
            raw = out._raw(texts, ctx)
            out.mean, out.components = _principal(raw, size)
            out.size = len(out.components)
            out._fitted = (texts, raw) if ctx.cache is None else None
        return out

    def encode(self, texts: Sequence[str], ctx: RunContext = QUIET) -> np.ndarray:
        """float32 (n, size): unit length, zeros for an empty text."""
        out = np.zeros((len(texts), self.size), dtype=np.float32)
        some = [i for i, text in enumerate(texts) if text.strip()]
        distinct = list(dict.fromkeys(texts[i] for i in some))
        if not distinct:
            return out
        if self._fitted is not None and self._fitted[0] == distinct:
            raw, self._fitted = self._fitted[1], None
        else:
            raw = self._raw(distinct, ctx)
        rows = (raw - self.mean) @ self.components.T if raw.shape[1] == self.components.shape[1] else np.zeros((len(raw), self.size))
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = np.where(length > LEAST, rows / np.maximum(length, LEAST), 0.0)
        number = {text: n for n, text in enumerate(distinct)}
        out[some] = rows[[number[texts[i]] for i in some]]
        return out

    def _raw(self, texts: list[str], ctx: RunContext) -> np.ndarray:
        """float32 (n, model's size) of distinct texts, from the cache where it has them."""
        cache = VectorCache(ctx.cache, self.key, self.identity) if ctx.cache is not None else None
        found, out = cache.get(texts) if cache else (np.zeros(len(texts), dtype=bool), np.zeros((len(texts), 0), np.float32))
        new = np.flatnonzero(~found)
        if not len(new):
            return out
        network = self._network(ctx)
        new = new[np.argsort([-len(texts[i]) for i in new], kind="stable")]  # alike in length together: less padding
        done: list[int] = []
        kept, total, read, started = 0, sum(len(texts[i]) for i in new), 0, time.monotonic()
        try:
            for batch in _batches(new, texts):
                left = (time.monotonic() - started) * (total - read) / read if read else None
                message = f"{len(done):,} of {len(new):,} new texts, {int(found.sum()):,} were there"
                ctx.report("Texts", read / max(1, total), message, seconds_left=left)
                vectors = _apply(network, [texts[i] for i in batch], ctx.n_threads)
                if out.shape[1] == 0:
                    out = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
                out[batch] = vectors
                done += batch
                read += sum(len(texts[i]) for i in batch)
                if cache and len(done) - kept >= KEEP_EVERY:
                    cache.put([texts[i] for i in done[kept:]], out[done[kept:]])
                    kept = len(done)
        finally:
            if cache:
                cache.put([texts[i] for i in done[kept:]], out[done[kept:]])
        return out

    def _network(self, ctx: RunContext) -> Any:
        """The model that vectors were learnt from, or a sentence on why it is not to be had."""
        if why := self.unavailable():
            raise Unsupported(why)
        folder = _pretrained.folder_of(self.model)
        if _pretrained.identity_of(folder) != self.identity:
            raise Unsupported(
                f"The sentence encoder {self.named} is not the one this was trained with: its weights or settings have changed.",
                "Put the earlier one back, or train again.",
            )
        return _pretrained.load(folder, ctx.device)

    @property
    def named(self) -> str:
        return f"'{self.model}'" if self.model else _pretrained.PACKAGED_NAME

    def plain(self) -> dict[str, Any]:
        return {"model": self.model, "identity": self.identity}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "components": self.components}

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Loads no network. One that is missing is told now; it stops only what has new texts to read."""
        out = cls(plain["model"], plain["identity"], np.asarray(arrays["mean"]), np.asarray(arrays["components"]))
        if why := out.missing():
            log.warning("New texts cannot be read by this model: %s", why)
        return out

    def missing(self) -> str:
        """Why new texts cannot be read; "" when they can, as far as can be told without reading the network. Asks no hub."""
        if why := self.unavailable():
            return why
        if self.model and _pretrained.is_hub_name(self.model):
            return ""
        try:
            _pretrained.folder_of(self.model)
        except WorkbenchError as error:
            return str(error)
        return ""


def _batches(rows: np.ndarray, texts: list[str]) -> Iterator[list[int]]:
    batch: list[int] = []
    for row in rows.tolist():
        if batch and (len(batch) == BATCH or (len(batch) + 1) * len(texts[batch[0]]) > BATCH_CHARACTERS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _apply(network: Any, texts: list[str], threads: int) -> np.ndarray:
    """float32 (n, d)."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        vectors = network.encode(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
    finally:
        torch.set_num_threads(before)
    return np.asarray(vectors, dtype=np.float32)


def _principal(raw: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean (d,), components (size, d)): the directions in which texts differ most; of one text alone, its own."""
    mean = raw.mean(axis=0, dtype=np.float64) if len(raw) > 1 else np.zeros(raw.shape[1])
    spread = raw.astype(np.float64) - mean
    strength, directions = np.linalg.eigh(spread.T @ spread)
    strength, directions = strength[::-1], directions.T[::-1]
    rank = max(1, int((strength > 1e-9 * max(strength[0], LEAST)).sum()))
    components = directions[: min(size, rank)]
    peak = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return mean.astype(np.float32), (components * np.sign(peak)).astype(np.float32)
