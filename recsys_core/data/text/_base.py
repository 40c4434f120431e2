"""The contract of a text encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from ...context import QUIET, RunContext


class TextEncoder(ABC):
    """Texts become vectors of length `size`. An empty text is a row of zeros.

    `fit` learns from the texts of the training table (a pretrained encoder only remembers which it is, and how it is reduced to
    `size`); `encode` gives float32 (n, size) for any texts, reports progress by batches and obeys `ctx.check()`.
    """

    key: ClassVar[str]
    label: ClassVar[str]  # "TF-IDF"
    summary: ClassVar[str]  # one sentence: when to prefer it, what it costs
    pretrained: ClassVar[bool] = False  # whether `model` names what it reads texts with
    size: int

    @classmethod
    def unavailable(cls) -> str:
        """Why it cannot be used on this machine and what to install, in one sentence; "" when it can."""
        return ""

    @classmethod
    @abstractmethod
    def fit(cls, texts: Sequence[str], ctx: RunContext = QUIET, *, size: int = 64, model: str = "") -> Self:
        """size: length of the vectors (at most; fewer where the texts give fewer). model: which pretrained one, where there are several."""

    @abstractmethod
    def encode(self, texts: Sequence[str], ctx: RunContext = QUIET) -> np.ndarray:
        """float32 (n, size)."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """What it learnt, JSON-able."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What it learnt, arrays."""

    @classmethod
    @abstractmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """The inverse of `plain` and `arrays`."""
