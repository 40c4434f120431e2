"""The contract of a high-level feature: learnt from the training part alone, never from validation or test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

if TYPE_CHECKING:
    from ...dataset import Dataset, DatasetStats
    from ...histories import Histories
    from ..encoder import FeatureTable


class Derived(ABC):
    """One high-level feature of users or of items, one or more numbers each.

    Item features describe what training knows of an item; a new item has none (NaN, which becomes "missing"). User features are
    computed from a history, so that they exist for users the model has never met and, while learning, from what is shown
    of a history and not from what has to be guessed.
    """

    key: ClassVar[str]
    label: ClassVar[str]  # "Popularity"
    help: ClassVar[str]  # one sentence an analyst understands: what it says and when it helps
    side: ClassVar[Literal["user", "item"]]
    needs: ClassVar[frozenset[str]] = frozenset()  # of "time", "ratings", "item features"
    default: ClassVar[bool] = True  # used unless the analyst says otherwise
    categorical: ClassVar[bool] = False  # its numbers are shares of or flags for alternatives, not quantities to be scaled

    @classmethod
    def missing(cls, stats: DatasetStats) -> list[str]:
        """What it needs and the data lacks, in words; empty when it can be had."""
        have = {"time": stats.has_time, "ratings": stats.has_ratings, "item features": stats.has_item_table}
        names = {"time": "a time for every interaction", "ratings": "explicit ratings", "item features": "an item table"}
        return [names[need] for need in sorted(cls.needs) if not have[need]]

    @classmethod
    @abstractmethod
    def fit(cls, train: Dataset, items: FeatureTable | None, rng: np.random.Generator) -> Self:
        """Learn from the training part. items: the encoded item table, or None."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """What each number is, for people: ("Interactions (log)",)."""

    def of_items(self) -> np.ndarray:
        """Item side: float32 (I, d); NaN rows for items without training interactions."""
        raise NotImplementedError(f"{type(self).__name__} describes users")

    def of_histories(self, histories: Histories) -> np.ndarray:
        """User side: float32 (B, d) from histories alone; NaN where a history says nothing. Vectorised: called once a batch."""
        raise NotImplementedError(f"{type(self).__name__} describes items")

    def plain(self) -> dict[str, Any]:
        """What it learnt, JSON-able."""
        return {}

    def arrays(self) -> dict[str, Any]:
        """What it learnt, arrays and csr matrices."""
        return {}

    @classmethod
    @abstractmethod
    def restore(cls, plain: dict[str, Any], arrays: dict[str, Any]) -> Self:
        """The inverse of `plain` and `arrays`."""
