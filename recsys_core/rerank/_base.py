"""The contract of a re-ranker: it picks k of a list of candidates, never anything else.

The public verb is final: it scales the scores, hides what is not there, and checks the answer. A method writes `_select`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from .. import params as params_module
from ..data.histories import Histories
from ..data.topk import TopK
from ..errors import ParamError, Unsupported
from ..models._card import Source
from ..params import Params
from ._shelf import Shelf

DEPTH = 200  # candidates a list is made from, unless told otherwise
TIE = np.float32(1e-6)
BLOCK_CELLS = 12_800  # candidates of a block of users: what is worked on stays in the processor's cache


class Reranker(ABC):
    """One way to shape lists. Params has `strength` in [0, 1] where the method trades accuracy for something:
    0 leaves the list as it is, 1 is as far as the method goes: most then look at nothing else."""

    key: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]  # one sentence for an analyst: what it gives, and its price
    source: ClassVar[Source | None] = None
    aim: ClassVar[str] = "intra_list_diversity"  # key of the metric it is meant to raise
    may_shorten: ClassVar[bool] = False  # whether a list may come out shorter than its candidates allow
    uses_similarity: ClassVar[bool] = False  # whether it looks at which items are alike, or at categories
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Params | None = None, **values: Any) -> None:
        if params is None:
            params = params_module.build(self.Params, values, owner=self.label)
        elif values or not isinstance(params, self.Params):
            raise ParamError(f"{self.label} takes either a {self.Params.__qualname__} or keyword values, not both.")
        self.params = params

    @classmethod
    def has_strength(cls) -> bool:
        """Whether there is a trade-off to slide along."""
        return "strength" in cls.Params.model_fields

    @classmethod
    def why_not(cls, shelf: Shelf) -> str:
        """Why it cannot be used on this data, in one sentence; "" when it can."""
        return ""

    @classmethod
    def notes(cls, shelf: Shelf) -> list[str]:
        """Sentences for people: what it makes of items without categories; none where it looks at no categories."""
        return shelf.notes if cls.uses_similarity else []

    def described(self) -> str:
        """In words: the method, its strength, and the settings that are not its defaults."""
        values, plain = self.params.model_dump(mode="json"), {f.name: f for f in params_module.fields(self.Params)}
        told = [
            f"{plain[name].label.lower()} {_told(value)}"
            for name, value in values.items()
            if name == "strength" or value != plain[name].default
        ]
        return "; ".join([self.label, *told])

    def rerank(self, candidates: TopK, k: int, shelf: Shelf, histories: Histories | None = None) -> TopK:
        """The first k of every list, chosen anew from its candidates.

        candidates: (B, C) best first; histories: of the same rows (default: training histories of `candidates.users`).
        Returned scores are the candidates' own, so they need not fall along the list. Ties go to the better candidate.
        """
        if k < 1:
            raise ParamError(f"The list length k must be 1 or more; got {k}.")
        self.check(shelf)
        if getattr(self.params, "strength", None) == 0:
            return picked(candidates, as_they_were(candidates.items, k), k)
        relevance = scaled(candidates.scores, candidates.items >= 0)
        given = shelf.histories(candidates.users) if histories is None else histories
        chosen = np.full((len(candidates), k), -1, dtype=np.int64)
        n_rows = max(1, BLOCK_CELLS // max(1, candidates.k))
        for start in range(0, len(candidates), n_rows):
            rows = slice(start, min(start + n_rows, len(candidates)))
            part = given.take(np.arange(rows.start, rows.stop))
            found = self._select(candidates.items[rows], relevance[rows], k, shelf, part)
            chosen[rows, : found.shape[1]] = found
        return picked(candidates, chosen, k)

    def check(self, shelf: Shelf) -> None:
        """Raise what is wrong with the parameters on this data; a method that names ids or columns says which are missing."""
        why = self.why_not(shelf)
        if why:
            raise Unsupported(f"{self.label} cannot be used here: {why}")

    def wanted(self, shelf: Shelf) -> np.ndarray:
        """Item codes that should be among the candidates, where the user may have them; the model may rank them lower."""
        return np.empty(0, dtype=np.int64)

    @abstractmethod
    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        """int (B, k): columns of the candidates in their new order, -1 where there are no more.

        items: int32 (B, C), -1 padded at the end; relevance: float32 (B, C) in [0, 1], falling along the list, 0 where padded.
        No column twice, no padded column. Rows are independent of each other; it is called with some tens of users at a time."""


def _told(value: Any) -> str:
    if isinstance(value, list | dict):
        names = [f"{name} {part:g}" for name, part in value.items()] if isinstance(value, dict) else list(map(str, value))
        return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    return f"{value:g}" if isinstance(value, float) else str(value)


def scaled(scores: np.ndarray, there: np.ndarray) -> np.ndarray:
    """float32 (B, C): every row from 0 (its worst candidate) to 1 (its best); 1 where all are equal; 0 where nothing is.

    A row whose scores say nothing of its order (not numbers, or rising somewhere along the list) falls evenly instead.
    """
    if not scores.shape[1]:
        return np.zeros(scores.shape, np.float32)
    with np.errstate(invalid="ignore"):
        falling = np.where(there[:, 1:], scores[:, 1:] <= scores[:, :-1], True).all(axis=1)
        strange = ~(falling & np.where(there, np.isfinite(scores), True).all(axis=1))
    n_there = there.sum(axis=1, keepdims=True)
    evenly = 1.0 - np.arange(scores.shape[1]) / np.maximum(n_there, 1)
    values = np.where(strange[:, None], evenly, np.where(there, scores, np.inf).astype(np.float64))
    low = np.where(there, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, values, -np.inf).max(axis=1, keepdims=True)
    flat = ~(high > low)
    low, width = np.where(flat, 0.0, low), np.where(flat, 1.0, high - low)
    out = np.where(flat, 1.0, (np.where(there, values, low) - low) / width)
    return np.where(there, out, 0.0).astype(np.float32)


def as_they_were(items: np.ndarray, k: int) -> np.ndarray:
    """int (B, min(k, C)): the first columns, -1 where there is nothing."""
    width = min(k, items.shape[1])
    return np.where(items[:, :width] >= 0, np.arange(width), -1)


def first_best(value: np.ndarray) -> np.ndarray:
    """int (B,): the column of each row's largest value; of those that tie, up to rounding of sums, the best candidate."""
    return (value >= value.max(axis=1, keepdims=True) - TIE).argmax(axis=1)


def picked(candidates: TopK, columns: np.ndarray, k: int) -> TopK:
    """The lists the columns make; raises ValueError for a repeat or a column that holds nothing (a broken method)."""
    columns = np.asarray(columns)[:, :k]
    if columns.shape[1] < k:
        columns = np.pad(columns, [(0, 0), (0, k - columns.shape[1])], constant_values=-1)
    found = columns >= 0
    at = np.maximum(columns, 0)
    items = np.where(found, np.take_along_axis(candidates.items, at, axis=1), -1)
    ordered = np.sort(np.where(found, columns, -1 - np.arange(k)), axis=1)
    if (found & (items < 0)).any() or (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError("a re-ranker must give every candidate at most once and nothing else")
    scores = np.where(found, np.take_along_axis(candidates.scores, at, axis=1), np.nan)
    return TopK(candidates.users, items.astype(np.int32), scores.astype(np.float32))


__all__ = ["DEPTH", "Reranker", "Shelf", "as_they_were", "first_best", "picked", "scaled"]
