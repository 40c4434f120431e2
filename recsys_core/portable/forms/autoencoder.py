"""Autoencoders: a whole history to a taste, a taste to the scores of all items."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ..vectors import cosine_to_all, log_softmax
from ._base import Form, Stored


class Autoencoder(Form):
    """taste = middle(bend(Σ over the items of a history of read_i / √n + read_bias)), score_j = output_j · taste + output_bias_j.

    The first and the last layer are read row by row and never made dense for a history. settings: threshold; bend: "tanh" or "none";
    log_softmax: scores are log-probabilities. Matrices: read (I, w), read_bias (w,), output (I, d), output_bias (I,). Networks: middle
    ("read" (1, w) -> "taste" (1, d)), where there are hidden layers.
    """

    key = "autoencoder"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.read, self.output = stored.matrix("read"), stored.matrix("output")
        self.read_bias, self.output_bias = stored.array("read_bias"), stored.array("output_bias")
        self.middle = stored.network("middle") if stored.has("middle") else None

    def taste(self, history: History) -> np.ndarray:
        """float32 (d,)."""
        codes, _ = history.relevant(self.settings.get("threshold")).row(binary=True)
        x = self.read.weighted_sum(codes, np.full(len(codes), max(1, len(codes)) ** -0.5, np.float32)) + self.read_bias
        if self.settings["bend"] == "tanh":
            x = np.tanh(x)
        return x if self.middle is None else self.middle(read=x[None])[0][0]

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        out = self.output.dot(self.taste(history)) + self.output_bias
        return log_softmax(out) if self.settings["log_softmax"] else out

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self.output, self._lengths, item)

    def vector(self, history: History) -> np.ndarray | None:
        return None if self.settings["log_softmax"] else np.append(self.taste(history), np.float32(1))

    @property
    def item_matrix(self) -> Matrix | None:
        return None if self.settings["log_softmax"] else self._with_bias

    @cached_property
    def _with_bias(self) -> Matrix:
        return Dense(np.column_stack([self.output.take(slice(None)), self.output_bias]))

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self.output.take(slice(None)), axis=1)
