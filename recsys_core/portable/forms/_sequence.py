"""What forms share that read the last items of a history in order."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ..vectors import cosine_to_all
from ._base import Form, Stored

HOUR = 3_600


class LastItems(Form):
    """state = encoder(vectors of the last items), score_j = output_j · state + bias_j.

    settings: threshold; max_len; ends_with: a code put behind the history (what comes next, hidden), which takes one place of max_len;
    pad_to: so many entries are read, code I before shorter histories; pause_hours: what came before a longer pause does not count.
    Matrices: items (V, d), what entries are read as, V >= I; output (I, d) where items are told by other vectors; bias (I,).
    Networks: encoder ("read" (1, L, d) -> "state" (1, d)). Without L being padded: a short history costs less than a long one.
    """

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.n_items = len(stored.counts)
        self.items, self.encoder = stored.matrix("items"), stored.network("encoder")
        self.output = stored.matrix("output") if stored.has("output") else _first(self.items, self.n_items)
        self.bias = stored.array("bias") if stored.has("bias") else np.zeros(self.n_items, np.float32)

    def codes(self, history: History) -> np.ndarray:
        """int64 (L,): what is read."""
        kept = history.relevant(self.settings.get("threshold"))
        hours = self.settings.get("pause_hours", 0)
        if hours and kept.times is not None and len(kept):
            pauses = np.flatnonzero(np.diff(kept.times) > hours * HOUR)
            kept = kept.take(np.arange(pauses[-1] + 1 if len(pauses) else 0, len(kept)))
        end = self.settings.get("ends_with")
        items = kept.items.astype(np.int64)
        if end is not None:
            items = np.append(items[max(0, len(items) + 1 - self.settings["max_len"]) :], end)
        items = items[-self.settings["max_len"] :]
        missing = self.settings.get("pad_to", 0) - len(items)
        return np.concatenate([np.full(missing, self.n_items), items]) if missing > 0 else items

    def state(self, history: History) -> np.ndarray:
        """float32 (d,): after the whole history."""
        return self.encoder(read=self.items.take(self.codes(history))[None])[0][0]

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        return self.output.dot(self.state(history)) + self.bias

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self.output, self._lengths, item)

    def vector(self, history: History) -> np.ndarray:
        return np.append(self.state(history), np.float32(1))

    @cached_property
    def item_matrix(self) -> Matrix:
        return Dense(np.column_stack([self.output.take(slice(None)), self.bias]))

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self.output.take(slice(None)), axis=1)


def _first(matrix: Matrix, n: int) -> Matrix:
    """The first n rows, not copied."""
    if not isinstance(matrix, Dense):
        raise TypeError("item vectors are dense")
    return Dense(matrix.values[:n], None if matrix.scales is None else matrix.scales[:n])
