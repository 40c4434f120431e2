"""What the contract batteries share: sizes for tiny data, values that must be refused, comparisons."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .. import params as params_module
from ..context import Progress, RunContext
from ..data.dataset import Dataset, DatasetStats
from ..data.holdout import Holdout
from ..data.topk import TopK, top_k
from ..models._base import Recommender
from .datasets import Case

SMALL = {"epochs": 40, "iterations": 40}  # caps for tiny data, on top of the preset "fast"
ONE = RunContext(threads=1)  # two threads on data this small only wait for each other
SOME = np.arange(0, 150, 6)  # training users most tests ask for
TINY = DatasetStats(30, 25, 200, 20, True, True, True, True)
LARGE = DatasetStats(200_000, 40_000, 20_000_000, 5_000, True, True, True, True)
WIDE = DatasetStats(30, 300_000, 3_000, 400, True, True, True, True)  # a catalogue hardly anybody has touched


class Witness:
    """A fit with what it reported, and when it asked whether to stop."""

    def __init__(self) -> None:
        self.model: Any = None
        self.said: list[Progress] = []
        self.times: list[float] = []

    def asked(self) -> bool:
        self.times.append(time.monotonic())
        return False


def small_params(cls: type[Recommender]) -> dict[str, Any]:
    """Parameters for tiny data: the preset "fast", with training cut to the caps in SMALL."""
    values = params_module.preset(cls.Params, "fast")
    for name, most in SMALL.items():
        if isinstance(values.get(name), int):
            values[name] = min(values[name], most)
    return values


def cut_validation(train: Dataset) -> tuple[Dataset, Holdout]:
    """A sixth of the training interactions as validation."""
    held = np.random.default_rng(0).random(len(train)) < 1 / 6
    return train.subset(~held), Holdout(train.subset(held))


def recall(top: TopK, data: Case) -> float:
    """Mean recall of the lists of the held-out users."""
    truth = data.held_out.relevant.toarray()
    hits = np.take_along_axis(truth, np.maximum(top.items, 0), axis=1) * (top.items >= 0)
    return float(np.mean(hits.sum(axis=1) / truth.sum(axis=1)))


def popular_lists(train: Dataset, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(items, scores) of the most popular items each user has not seen."""
    scores = np.tile(train.item_counts.astype(np.float32), (len(users), 1))
    scores[train.matrix("seen")[users].toarray() > 0] = -np.inf
    return top_k(scores, k)


def same(one: TopK, other: TopK) -> None:
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)


def close(one: np.ndarray, other: np.ndarray) -> None:
    """Equal up to float32 rounding of sums in another order."""
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4 * max(1e-6, float(np.abs(other).max())))


def bad_values(field: params_module.ParamField) -> list[Any]:
    """Values outside the rule of a parameter."""
    if field.kind in ("int", "float"):
        wrong: list[Any] = ["many", [1]] if not field.optional else [[1]]
        wrong += [] if field.ge is None else [field.ge - 1]
        wrong += [] if field.gt is None else [field.gt]
        wrong += [] if field.le is None else [field.le + 1]
        wrong += [] if field.lt is None else [field.lt]
        wrong += [float("nan")] if field.kind == "float" else [1.5]
        return wrong
    return {"choice": ["no such choice"], "bool": ["perhaps"], "list": [3.7], "dict": [3.7]}.get(field.kind, [])
