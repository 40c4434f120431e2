"""What a model says of itself: needs, source, cost, and its reasons for an item."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

import numpy as np

from ..data.dataset import DatasetStats
from ..params import ParamField

BATCH_BYTES = 64 * 2**20  # score rows held at once


class Need(StrEnum):
    """What a model cannot do without; the app disables its card with this reason."""

    RATINGS = "explicit ratings"
    TIME = "a time for every interaction"
    ITEM_TABLE = "an item table"
    USER_TABLE = "a user table"

    def met_by(self, stats: DatasetStats) -> bool:
        """Whether data of this kind has it."""
        have = {
            "RATINGS": stats.has_ratings,
            "TIME": stats.has_time,
            "ITEM_TABLE": stats.has_item_table,
            "USER_TABLE": stats.has_user_table,
        }
        return have[self.name]


@dataclass(frozen=True)
class Source:
    """Paper (authors, title, year) and link."""

    citation: str
    url: str = ""


@dataclass(frozen=True)
class Cost:
    """Expected before fitting. memory_bytes: peak beyond the data; seconds: on two cores; note: what drives it."""

    memory_bytes: int
    seconds: float
    note: str = ""


def block_bytes(stats: DatasetStats) -> int:
    """Bytes of one block of score rows: all of them where they fit into `BATCH_BYTES`."""
    return min(BATCH_BYTES, 4 * stats.n_users * stats.n_items)


@dataclass(frozen=True)
class Card:
    """What the app, the command line, the docs and the tests see of a model."""

    key: str
    label: str
    family: str
    summary: str
    needs: tuple[Need, ...]
    source: Source | None
    fields: tuple[ParamField, ...]
    can_explain: bool
    can_rate: bool
    has_similar: bool
    is_fused: bool
    adapts: bool = False  # learns from a few items of a new user by steps of its own
    can_bundle: bool = False  # can become a file that answers without the libraries that trained it

    def missing(self, stats: DatasetStats) -> list[str]:
        """Reasons why it cannot run on this data; empty when it can."""
        return [f"needs {need.value}" for need in self.needs if not need.met_by(stats)]


@dataclass(frozen=True)
class Explanation:
    """Why an item: `parts` best first. kind: 'history' (refs are item codes), 'models' or 'features' (names), or 'mixed':
    then `sorts` says of each ref what it is: "history" (an item code), "item feature" or "user feature" (text such as "genres = Comedy").

    contributions add up to `total` where the model is additive (`exact`), else they are shares.
    method: one sentence on how they were computed.
    """

    kind: Literal["history", "models", "features", "mixed"]
    refs: tuple[int | str, ...]
    contributions: tuple[float, ...]
    total: float
    exact: bool
    method: str
    sorts: tuple[str, ...] = ()

    @classmethod
    def of_history(cls, items: np.ndarray, parts: np.ndarray, k: int, method: str) -> Self:
        """Exact parts of an additive score: item n of the history adds parts[n]. The k largest in size are named, best first."""
        largest = np.argsort(-np.abs(parts), kind="stable")
        largest = largest[parts[largest] != 0][:k]
        best = largest[np.argsort(-parts[largest], kind="stable")]
        refs, contributions = tuple(items[best].tolist()), tuple(parts[best].astype(float).tolist())
        return cls("history", refs, contributions, float(parts.sum()), exact=True, method=method)
