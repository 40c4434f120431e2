"""The small network that becomes a user's own, and its gradient, in numpy: `models.meta._network.Core` and `nn.meta.inner`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._attention import Weights, block, block_slope, layer_norm, layer_norm_slope, linear, linear_slope

HEAD = ("inside", "outside", "straight")


@dataclass(frozen=True, eq=False)
class Core:
    """blocks: of the Transformer that reads the items shown, 0: none are read. adapted: names of the weights that move."""

    blocks: int
    heads: int
    adapted: tuple[str, ...]

    @property
    def reading_moves(self) -> bool:
        """Whether what stands before the head adapts too."""
        return any(name.split(".")[0] not in (*HEAD, "taste") for name in self.adapted)

    def read(self, w: Weights, tokens: np.ndarray, there: np.ndarray, user: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """(B, d) of tokens (S, d), of which each of B users looks at those that are there, bool (B, S); B = 1 without blocks."""
        x = (w["start"] + user)[None]
        if not self.blocks:
            return x, []
        x = np.concatenate([x, tokens])[None]
        there = np.concatenate([np.ones((len(there), 1), bool), there], 1)
        kept: list[Any] = []
        for n in range(self.blocks):
            x, own = block(w, f"blocks.{n}", x, there, self.heads, 1 if n == self.blocks - 1 else x.shape[1])
            kept.append(own)
        x, own = layer_norm(w, "norm", x[:, 0])
        return x, [*kept, own]

    def read_slope(self, w: Weights, kept: list[Any], slope: np.ndarray, slopes: Weights) -> None:
        if kept:
            slope = layer_norm_slope(w, "norm", kept[-1], slope, slopes)[:, None]
            for n in reversed(range(self.blocks)):
                slope = block_slope(w, f"blocks.{n}", kept[n], slope, slopes)
            slope = slope[:, 0]
        slopes["start"] = slope.sum(0)

    def head(self, w: Weights, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """((B, d) user vectors, hidden units)."""
        hidden = np.maximum(linear(w, "inside", x), 0)
        return linear(w, "straight", x) + linear(w, "outside", hidden) + w["taste"], hidden

    def head_slope(self, w: Weights, x: np.ndarray, hidden: np.ndarray, slope: np.ndarray, slopes: Weights) -> np.ndarray:
        slopes["taste"] = slope.sum(0)
        inner = linear_slope(w, "outside", hidden, slope, slopes) * (hidden > 0)
        return linear_slope(w, "straight", x, slope, slopes) + linear_slope(w, "inside", x, inner, slopes)


@dataclass(frozen=True, eq=False)
class Shown:
    """What one user shows: item numbers (S,), standardised ratings (S,), what the items are read as (S, d), what the user's columns
    say (d,)."""

    items: np.ndarray
    values: np.ndarray
    tokens: np.ndarray
    user: np.ndarray


@dataclass(frozen=True, eq=False)
class Adaptation:
    """w ← w − rate · ∇(loss(w) + anchor / 2 · ‖w − w₀‖²), `steps` times, as `models.meta._losses.TaskLosses.support` has the loss:
    every item shown is told from the others shown (from the start alone where items are not read), over n + trust.

    vectors (I, d), biases (I,) of all items; rates: a number for each weight that adapts. ratings: squared errors, not a softmax.
    Cost: a step takes 2 · S · I · d multiplications where items are read, else 2 · I · d.
    """

    core: Core
    start: Weights
    rates: dict[str, float]
    vectors: np.ndarray
    biases: np.ndarray
    trust: float
    steps: int
    anchor: float
    ratings: bool

    def vector(self, shown: Shown, steps: int | None = None) -> np.ndarray:
        """float32 (d,): the user's vector after the steps."""
        w, steps = self.start, self.steps if steps is None else steps
        reads, alone = None, ~np.eye(len(shown.items), dtype=bool)
        for _ in range(steps if len(shown.items) else 0):  # nothing shown: nothing pulls
            if reads is None or self.core.reading_moves:
                reads = self.core.read(w, shown.tokens, alone, shown.user)
            slopes = self.slopes(w, shown, *reads)
            w = w | {name: w[name] - np.float32(rate) * self._pulled(name, w, slopes) for name, rate in self.rates.items()}
        x, _ = self.core.read(w, shown.tokens, np.ones((1, len(shown.items)), bool), shown.user)
        return self.core.head(w, x)[0][0]

    def slopes(self, w: Weights, shown: Shown, x: np.ndarray, kept: list[Any]) -> Weights:
        """The gradient of the support loss for the weights that adapt, from what was read."""
        users, hidden = self.core.head(w, x)  # (S, d), or (1, d) for all of them
        scores = users @ self.vectors.T + self.biases
        own = self.vectors[shown.items]
        weight = np.float32(1 / (len(shown.items) + self.trust))
        if self.ratings:
            row = np.arange(len(shown.items)) if len(scores) > 1 else np.zeros(len(shown.items), np.int64)
            slope = 2 * (scores[row, shown.items] - shown.values)[:, None] * own
        else:
            likely = np.exp(scores - scores.max(1, keepdims=True))
            slope = (likely @ self.vectors) / likely.sum(1, keepdims=True) - own
        slope = slope * weight if len(users) > 1 else slope.sum(0, keepdims=True) * weight
        slopes: Weights = {}
        below = self.core.head_slope(w, x, hidden, slope, slopes)
        if self.core.reading_moves:
            self.core.read_slope(w, kept, below, slopes)
        return slopes

    def _pulled(self, name: str, w: Weights, slopes: Weights) -> np.ndarray:
        return slopes[name] + np.float32(self.anchor) * (w[name] - self.start[name]) if self.anchor else slopes[name]
