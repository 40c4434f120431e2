"""A column of texts: cleaned, each distinct text read once by a text encoder."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from ... import registry
from ...context import QUIET, RunContext
from ...errors import ParamError, Unsupported
from ..text._base import TextEncoder
from ._field import NOTHING, Field
from .columns import cells

LONGEST = 2_000  # characters of a text that are read
LARGEST_SIZE = 1_024
_RAW = 10 * LONGEST  # of which at most this many before tags are taken out
_UNSEEN = re.compile(r"<(script|style)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.I | re.S)
_TAG = re.compile(r"<!--.*?(?:-->|\Z)|<[a-zA-Z/!?][^<>]*>", re.S)


@dataclass(frozen=True, eq=False)
class Text(Field):
    """Texts as vectors of an encoder (`data/text/`), and whether there is none. Tags, blanks and what is too long are taken out first."""

    kind: ClassVar[str] = "text"
    label: ClassVar[str] = "Text"
    summary: ClassVar[str] = "Titles and descriptions become vectors: texts about the same lie close together."
    encoder: TextEncoder
    n_cut: int = 0  # texts it learnt from that were too long to be read whole

    @classmethod
    def fit(
        cls, name: str, column: pd.Series, ctx: RunContext = QUIET, encoder: str = "tfidf_svd", size: int = 64, model: str = ""
    ) -> Self:
        """encoder: key of a text encoder. size: numbers a text, at most. model: which pretrained model, for encoders that read one."""
        if not isinstance(size, int | np.integer) or not 1 <= size <= LARGEST_SIZE:
            raise ParamError(f"The size of text vectors must be a whole number from 1 to {LARGEST_SIZE:,}, not {size!r}.", "Try 64.")
        reader = registry.get("text_encoder", encoder)
        if why := reader.unavailable():
            raise Unsupported(f"The column '{name}' cannot be read as text. {why}", "Or choose the encoder TF-IDF, which is always there.")
        _, texts, n_cut = clean(column)
        return cls(name, reader.fit(texts, ctx, size=int(size), model=model), n_cut)

    @cached_property
    def names(self) -> list[str]:
        return [*(f"{self.name} ~{n}" for n in range(1, self.encoder.size + 1)), f"{self.name}={NOTHING}"]

    @property
    def notes(self) -> list[str]:
        """Sentences on what was not read."""
        what = f"The column '{self.name}' has {self.n_cut:,} texts longer than {LONGEST:,} characters; what is beyond is not read."
        return [what] if self.n_cut else []

    def encode(self, column: pd.Series, ctx: RunContext = QUIET) -> sparse.csr_matrix:
        """csr (n, size + 1)."""
        code, texts, _ = clean(column)
        vectors = self.encoder.encode(texts, ctx).astype(np.float32, copy=False)
        n, size = vectors.shape  # one line for each text, and a last one for nothing
        flat = np.append(vectors.ravel(), np.float32(1))
        where = np.append(np.tile(np.arange(size, dtype=np.int32), n), np.int32(size))
        starts = np.append(np.arange(n + 1) * size, n * size + 1)
        return sparse.csr_matrix((flat, where, starts), shape=(n + 1, size + 1))[code]  # code -1 takes the last line

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "encoder": self.encoder.key, "learnt": self.encoder.plain(), "n_cut": self.n_cut}

    def arrays(self) -> dict[str, np.ndarray]:
        return self.encoder.arrays()

    @classmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        reader = registry.get("text_encoder", plain["encoder"])
        return cls(plain["name"], reader.restore(plain["learnt"], arrays), plain["n_cut"])


def clean(column: pd.Series) -> tuple[np.ndarray, list[str], int]:
    """(code (n,), -1 where there is no text; the distinct texts; how many of them were cut)."""
    first, cell = pd.factorize(cells(column))
    bare = pd.Series([_bare(text) for text in cell], dtype=object)
    n_cut = int((bare.str.len() > LONGEST).sum()) if len(bare) else 0
    second, texts = pd.factorize(bare.str.slice(0, LONGEST).where(bare != "", None) if len(bare) else bare)
    return np.append(second, -1)[first], list(texts), n_cut


def _bare(text: str) -> str:
    """Without tags and comments, entities as characters, one blank between words."""
    text = text[:_RAW].encode("utf-8", "ignore").decode()  # halves of characters, which no tokeniser takes
    if "<" in text:
        text = _TAG.sub(" ", _UNSEEN.sub(" ", text))
    return " ".join(html.unescape(text).split())
