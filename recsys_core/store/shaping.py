"""Lists shaped on their way out: a re-ranking method applied to the model's scores, for export and for the live scorer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from .. import registry
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.topk import TopK, top_k
from ..errors import BadInput
from ..rerank._base import DEPTH, Reranker, Shelf


class Rerank(BaseModel):
    """How lists are shaped. method: key of a re-ranker; params: its settings; depth: candidates a list is chosen from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    params: dict[str, Any] = {}
    depth: int = DEPTH


@dataclass(frozen=True)
class Shaping:
    """A method ready to work on lists of k."""

    reranker: Reranker
    shelf: Shelf
    depth: int
    wanted: np.ndarray

    @classmethod
    def make(cls, asked: Rerank, train: Dataset, k: int) -> Shaping:
        """Everything looked up and checked. train: what the model learnt from, with its item table."""
        if not k <= asked.depth <= 1000:
            raise BadInput(f"A list of {k} is chosen from {k} to 1000 candidates; got a depth of {asked.depth}.")
        reranker = registry.get("reranker", asked.method)(**asked.params)
        shelf = _shelf(train)
        reranker.check(shelf)
        return cls(reranker, shelf, asked.depth, np.unique(reranker.wanted(shelf)))

    @property
    def notes(self) -> list[str]:
        """Sentences for the manifest: how the lists were shaped."""
        said = f"Every list was chosen from {self.depth:,} candidates: {self.reranker.described()}. Scores are the model's own."
        short = (
            ["Rules are kept even where that leaves a list short, so the file may have fewer rows."] if self.reranker.may_shorten else []
        )
        return [said, *short, *self.reranker.notes(self.shelf)]

    def lists(self, users: np.ndarray, scores: np.ndarray, k: int, histories: Histories) -> TopK:
        """users: (B,) codes; scores: float (B, I), -inf for what may not appear; histories: of the same users."""
        items, best = top_k(scores, self.depth)
        if len(self.wanted):
            items, best = _joined(items, best, self.wanted, scores)
        return self.shaped(TopK(users, items, best), k, histories)

    def shaped(self, candidates: TopK, k: int, histories: Histories) -> TopK:
        return self.reranker.rerank(candidates, k, self.shelf, histories)


def with_table(train: Dataset, data: Dataset | None) -> Dataset:
    """The training set with the item table of the whole data where it has none itself."""
    if train.item_table is not None or data is None or data.item_table is None or len(data.item_table) != train.n_items:
        return train
    return replace(train, item_table=data.item_table)


@lru_cache(maxsize=1)
def _shelf(train: Dataset) -> Shelf:
    """Kept, so that one preview after another need not work out the same similarities."""
    return Shelf(train)


def _joined(items: np.ndarray, best: np.ndarray, wanted: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists with the wanted items among them where they may appear, best first; (B, depth + wanted).

    scores: (B, I) of all items; wanted: each code once.
    """
    place = np.full(scores.shape[1] + 1, -1, dtype=np.int64)  # the last: of what is not there, code -1
    place[wanted] = np.arange(len(wanted))
    at = place[items]
    there = np.zeros((len(items), len(wanted)), dtype=bool)
    row, column = np.nonzero(at >= 0)
    there[row, at[row, column]] = True
    own = scores[:, wanted]
    open_ = np.isfinite(own) & ~there
    items = np.concatenate([items, np.where(open_, wanted, -1)], axis=1).astype(np.int32)
    best = np.concatenate([best, np.where(open_, own, np.nan)], axis=1).astype(np.float32)
    order = np.argsort(np.where(items >= 0, -best, np.inf), axis=1, kind="stable")
    return np.take_along_axis(items, order, axis=1), np.take_along_axis(best, order, axis=1)


__all__ = ["Rerank", "Shaping", "with_table"]
