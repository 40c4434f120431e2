"""Boosted trees as plain arrays: read without the library that grew them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trees:
    """T full binary trees of depth D. feature: int32 (T, 2^D - 1), threshold: float64 (T, 2^D - 1), in the order of a heap: the
    children of node n are 2n + 1 (value <= threshold) and 2n + 2; leaf: float64 (T, 2^D). base: what is added to their sum.

    Cost: 2^D comparisons a row and tree, each over whole columns; 200,000 rows × 40 trees of depth 4 take about 0.1 s.
    """

    feature: np.ndarray
    threshold: np.ndarray
    leaf: np.ndarray
    base: float

    @property
    def depth(self) -> int:
        return int(np.log2(self.leaf.shape[1]))

    def stages(self, columns: np.ndarray, ends: list[int]) -> list[np.ndarray]:
        """float64 (n,) sums of the first `ends` trees, without `base`. columns: float64 (F, n), one a row, without NaN."""
        total, out = np.zeros(columns.shape[1]), {0: np.zeros(columns.shape[1])}
        for tree in range(max(ends, default=0)):
            total = total + self.leaf[tree][self._leaf_of(columns, tree)]
            out[tree + 1] = total
        return [out[end] for end in ends]

    def predict(self, columns: np.ndarray) -> np.ndarray:
        """float64 (n,): what scikit-learn's `decision_function` gives."""
        total = np.full(columns.shape[1], self.base)
        for tree in range(len(self.leaf)):  # in its order, so that sums round alike
            total += self.leaf[tree][self._leaf_of(columns, tree)]
        return total

    def _leaf_of(self, columns: np.ndarray, tree: int) -> np.ndarray:
        """int (n,): every row's leaf. From the lowest level up: a node's answer is its own bit before that of the child it leads to."""
        right = [columns[f] > t for f, t in zip(self.feature[tree], self.threshold[tree], strict=True)]
        level = [bit.astype(np.uint8) for bit in right[2 ** (self.depth - 1) - 1 :]]
        for height in range(self.depth - 2, -1, -1):
            first, weight = 2**height - 1, np.uint8(2 ** (self.depth - 1 - height))
            nodes = right[first : 2 * first + 1]
            level = [np.where(bit, level[2 * n + 1] + weight, level[2 * n]) for n, bit in enumerate(nodes)]
        return level[0]
