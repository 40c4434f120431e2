"""The contract of a form: how one kind of model turns a history into scores, with numpy alone (and onnxruntime for networks).

A form is one file here and one name in a model: `Recommender._portable` gives a `models._portable.Portable` that names the form and
hands over its matrices, settings and networks. Forms never import scipy, pandas, torch, implicit or scikit-learn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np

from ..history import History
from ..matrix import Matrix


class Network(Protocol):
    """An ONNX graph: named inputs to the list of its outputs."""

    def __call__(self, **inputs: np.ndarray) -> list[np.ndarray]: ...


class Stored(Protocol):
    """What a form finds of its own in a bundle."""

    settings: dict[str, Any]
    parts: tuple[Form, ...]  # of a fused model
    counts: np.ndarray  # float32 (I,): interactions of every item in training

    def matrix(self, name: str) -> Matrix: ...

    def array(self, name: str) -> np.ndarray:
        """A stored array as it is, or a dense matrix widened to float32."""
        ...

    def has(self, name: str) -> bool: ...

    def network(self, name: str) -> Network: ...


class Form(ABC):
    """One model, ready to answer for one user at a time. I items, codes as in training; the catalogue of the bundle may be longer
    (items that came later): what is beyond I is not the form's business."""

    key: ClassVar[str]
    serves_nothing: ClassVar[bool] = False  # has a list for an empty history; otherwise the bundle serves popularity

    def __init__(self, stored: Stored) -> None:
        """Take what is needed of `stored`; work out here what every answer uses."""
        self.settings = stored.settings

    @abstractmethod
    def scores(self, history: History, user: int = -1) -> np.ndarray:
        """float32 (I,), a fresh array, nothing masked. history: what the model is told of the user (not empty unless `serves_nothing`).
        user: the training code when that history is exactly the user's training history and nothing came since, so that a vector
        learnt for them may be used; -1: fold in."""

    def similar(self, item: int) -> np.ndarray | None:
        """float32 (I,): how alike every item is to this one; -inf: not at all. None: this form cannot tell."""
        return None

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool] | None:
        """(float (n,): what each entry of the history adds to the item's score, whether they add up to it). None: leave one out."""
        return None

    def part_shares(self, item: int, history: History) -> list[tuple[str, float]] | None:
        """What each part of a fused model brought to the item's score: (label, share). None: one model alone, or it cannot tell."""
        return None

    def vector(self, history: History) -> np.ndarray | None:
        """float32 (d,): the user's vector, where scores are products with item vectors (`item_matrix`). For nearest-neighbour search."""
        return None

    @property
    def item_matrix(self) -> Matrix | None:
        """(I, d) the item vectors `vector` is multiplied with: score = product, and nothing else. None where it is not that simple."""
        return None
