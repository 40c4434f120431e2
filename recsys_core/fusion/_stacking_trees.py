"""Gradient-boosted trees of a stacking fusion: grown by scikit-learn, kept and read as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..context import RunContext
from ._stacking_inputs import FOLDS, Lesson, Seen, Taught, best_step, sharpness

MIXES = (0.1, 0.25, 0.5)  # how far the trees may move the score away from the fixed sum
STAGES = 6  # numbers of trees that are tried
SURE = 20  # candidates a user's fixed sum ranks this high are about all kept as negatives; fewer further down


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

    @classmethod
    def of(cls, model: Any, depth: int) -> Trees:
        """Of a fitted HistGradientBoosting model of scikit-learn with one output, numeric columns and max_depth <= depth."""
        grown = [_full(predictor.nodes, depth) for (predictor,) in model._predictors]
        feature, threshold, leaf = (np.stack(arrays) for arrays in zip(*grown, strict=True))
        return cls(feature, threshold, leaf, float(model._baseline_prediction.ravel()[0]))

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


def _full(nodes: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(feature, threshold, leaf) of one tree filled up to `depth`: below a leaf everything goes left, to the leaf's value."""
    at = np.zeros(1, dtype=np.int64)
    features, thresholds = [], []
    for _ in range(depth):
        inner = nodes["is_leaf"][at] == 0
        features.append(np.where(inner, nodes["feature_idx"][at], 0).astype(np.int32))
        thresholds.append(np.where(inner, nodes["num_threshold"][at], np.inf))
        sides = [np.where(inner, nodes[side][at].astype(np.int64), at) for side in ("left", "right")]
        at = np.stack(sides, axis=1).ravel()
    return np.concatenate(features), np.concatenate(thresholds), nodes["value"][at].astype(np.float64)


def columns_of(seen: Seen, fixed: np.ndarray) -> np.ndarray:
    """float64 (F, B × C): what trees see of every candidate: the user's row, the pair's, the fixed sum (B, C)."""
    wide = np.repeat(seen.row, fixed.shape[1], axis=0)
    return np.concatenate([wide.T, seen.pair.reshape(-1, seen.pair.shape[2]).T, fixed.reshape(1, -1)]).astype(np.float64)


def learn_trees(lesson: Lesson, start: np.ndarray, ctx: RunContext, *, n_trees: int, depth: int, learning_rate: float) -> Taught:
    """The trees as arrays, and what they are worth; {} where nothing better than `start` was found.

    How many trees and how far they move the score is judged by each fifth of the users on trees grown on the others.
    """
    ends = sorted({max(1, round(n_trees * (n + 1) / STAGES)) for n in range(STAGES)})
    choices = [(end, mix) for end in ends for mix in MIXES]
    width = lesson.hits.shape[1]
    curve = np.zeros((len(choices) + 1, len(lesson.hits)))
    for fold in range(FOLDS):
        told, others = lesson.parted(fold)
        if not len(told) or not len(others):
            continue
        ctx.report("learning how to combine", fold / (FOLDS + 1))
        fixed, sharp, columns = _columns(lesson, lesson.best_fixed(ctx, others)[0])
        stages = _grown(lesson, fixed, columns, others, ctx, n_trees, depth, learning_rate).stages(columns[:, _cells(told, width)], ends)
        curve[0, told] = lesson.ndcg(fixed[told], told)
        for number, (end, mix) in enumerate(choices, 1):
            moved = (1 - mix) * fixed[told] + mix * stages[ends.index(end)].reshape(-1, width) / sharp
            curve[number, told] = lesson.ndcg(moved, told)
    chosen, gain = best_step(curve)
    if not chosen:
        return Taught({}, float(curve[0].mean()), 0.0)
    ctx.report("learning how to combine", FOLDS / (FOLDS + 1))
    end, mix = choices[chosen - 1]
    fixed, sharp, columns = _columns(lesson, start)
    trees = _grown(lesson, fixed, columns, np.arange(len(fixed)), ctx, end, depth, learning_rate)
    arrays = {"trees.feature": trees.feature, "trees.threshold": trees.threshold, "trees.leaf": trees.leaf}
    arrays |= {"trees.mix": mix, "trees.factor": mix / sharp, "trees.base": trees.base}
    return Taught(arrays, float(curve[0].mean()), gain)


def _columns(lesson: Lesson, weights: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """(fixed sum (V, C), its sharpness, columns of all cells)."""
    fixed = lesson.block.scores @ weights.astype(np.float32)
    return fixed, sharpness(lesson, fixed), columns_of(lesson.seen, fixed)


def _cells(rows: np.ndarray, width: int) -> np.ndarray:
    """Numbers of the cells (row, candidate) of some rows."""
    return (rows[:, None] * width + np.arange(width)).ravel()


def _grown(
    lesson: Lesson, fixed: np.ndarray, columns: np.ndarray, users: np.ndarray, ctx: RunContext, n_trees: int, depth: int, rate: float
) -> Trees:
    """Trees that tell the held-out items of the users (row numbers) from other candidates.

    Negatives are drawn by rank: one ranked r by the fixed sum is kept with chance SURE / (SURE + r) and weighs the
    inverse, so that most rows are about candidates near the top, and none counts more than it should.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    order = np.argsort(np.argsort(-np.where(lesson.block.real, fixed, -np.inf), axis=1, kind="stable"), axis=1)
    chance = np.where(lesson.hits, 1.0, SURE / (SURE + order))
    drawn = ctx.rng("negatives of the trees").random(chance.shape) < chance
    cells = _cells(users, fixed.shape[1])
    rows = cells[(drawn & lesson.block.real).ravel()[cells]]
    model = HistGradientBoostingClassifier(
        max_iter=n_trees, max_depth=depth, max_leaf_nodes=2**depth, learning_rate=rate, early_stopping=False, random_state=0
    )
    with threadpool_limits(ctx.n_threads):
        model.fit(columns[:, rows].T, lesson.hits.ravel()[rows], sample_weight=1 / chance.ravel()[rows])
    return Trees.of(model, depth)


class TreesOverSum:
    """(1 - mix) × fixed sum + factor × trees, from the arrays of `learn_trees`. Nothing is run on loading."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.trees = Trees(arrays["trees.feature"], arrays["trees.threshold"], arrays["trees.leaf"], float(arrays["trees.base"]))
        self.start = np.asarray(arrays["start"], dtype=np.float32)
        self.mix, self.factor = float(arrays["trees.mix"]), float(arrays["trees.factor"])

    def score(self, row: np.ndarray, scores: np.ndarray, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(gates (B, P), the same for all, context (B, C))."""
        fixed = scores @ self.start
        (total,) = self.trees.stages(columns_of(Seen(row, pair), fixed), [len(self.trees.leaf)])
        gates = np.tile(np.float32(1 - self.mix) * self.start, (len(row), 1))
        return gates, (self.factor * total).reshape(fixed.shape).astype(np.float32)
