"""Gradient-boosted trees of a stacking fusion: grown by scikit-learn, kept and read as plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..context import RunContext
from ..portable.trees import Trees
from ._stacking_inputs import FOLDS, Lesson, Seen, Taught, best_step, sharpness

MIXES = (0.1, 0.25, 0.5)  # how far the trees may move the score away from the fixed sum
STAGES = 6  # numbers of trees that are tried
SURE = 20  # candidates a user's fixed sum ranks this high are about all kept as negatives; fewer further down


def trees_of(model: Any, depth: int) -> Trees:
    """Of a fitted HistGradientBoosting model of scikit-learn with one output, numeric columns and max_depth <= depth."""
    grown = [_full(predictor.nodes, depth) for (predictor,) in model._predictors]
    feature, threshold, leaf = (np.stack(arrays) for arrays in zip(*grown, strict=True))
    return Trees(feature, threshold, leaf, float(model._baseline_prediction.ravel()[0]))


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
    return trees_of(model, depth)


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
