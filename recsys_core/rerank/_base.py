"""The contract of a re-ranker: it picks k of a list of candidates, never anything else.

The public verb is final: it scales the scores, hides what is not there, and checks the answer. A method writes `_select`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from .. import params as params_module
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.topk import TopK
from ..errors import ParamError, Unsupported
from ..metrics import Catalog
from ..metrics._catalog import category_names
from ..models._card import Source
from ..params import Params

DEPTH = 200  # candidates a list is made from, unless told otherwise
N_CLUSTERS = 24  # groups of items at most, where there are no categories


@dataclass(frozen=True)
class Shelf:
    """What re-ranking knows of the items and of the users' pasts; all from training data and the item table.

    train: the training set; its item_table may be missing. No model and no torch in sight, so the app may use it.
    """

    train: Dataset

    @cached_property
    def catalog(self) -> Catalog:
        """Popularity, categories and co-occurrence embeddings of the items."""
        return Catalog.from_dataset(self.train)

    @property
    def has_categories(self) -> bool:
        return self.catalog.features is not None

    @property
    def similarity(self) -> str:
        """In words: what two items being alike means here."""
        return "item categories" if self.has_categories else "who had the items (there are no item categories)"

    @cached_property
    def notes(self) -> list[str]:
        """Sentences on items that are not like the others: what is done where an item has no categories."""
        return []

    @cached_property
    def vectors(self) -> np.ndarray:
        """float32 (I, D), rows of length 1 (or 0): categories, or co-occurrence embeddings where there are none."""
        features = self.catalog.features
        return features.toarray() if features is not None else self.catalog.embeddings

    @cached_property
    def groups(self) -> sparse.csr_matrix:
        """csr float32 (I, G), rows summing to 1 (or 0): the item's shares of each category; without categories, the
        cluster of items with the same public it belongs to (k-means on the embeddings, seeded)."""
        features = self.catalog.features
        if features is not None:
            shares = features.copy()  # rows of length 1 with equal entries: 1 / sqrt(n) each
            shares.data **= 2
            return shares
        from scipy.cluster.vq import kmeans2

        known = np.flatnonzero(np.any(self.catalog.embeddings, axis=1))
        n_groups = int(np.clip(np.sqrt(len(known) / 2), 1, N_CLUSTERS)) if len(known) else 1
        group = np.zeros(len(known), dtype=np.int64)
        if n_groups > 1:
            group = kmeans2(self.catalog.embeddings[known].astype(np.float64), n_groups, minit="++", rng=0)[1]
        return sparse.csr_matrix((np.ones(len(known), np.float32), (known, group)), shape=(self.train.n_items, n_groups))

    @cached_property
    def group_names(self) -> list[str]:
        """(G,) for people: the categories, or "group 1" … where they were found by clustering."""
        if self.catalog.features is None:
            return [f"group {number + 1}" for number in range(self.groups.shape[1])]
        return category_names(self.train.item_table, self.train.meta)

    @property
    def popularity(self) -> np.ndarray:
        """int64 (I,): training users per item."""
        return self.train.item_counts

    @property
    def item_table(self) -> pd.DataFrame | None:
        return self.train.item_table

    def histories(self, users: np.ndarray) -> Histories:
        """Training histories of the codes; empty for -1 and for users training does not know."""
        users = np.asarray(users, dtype=np.int64)
        known = (users >= 0) & (users < self.train.n_users)
        found = self.train.histories(users[known])
        lengths = np.zeros(len(users), dtype=np.int64)
        lengths[known] = found.lengths
        return Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), found.items, found.values, found.times)


class Reranker(ABC):
    """One way to shape lists. Params has `strength` in [0, 1] where the method trades accuracy for something:
    0 leaves the list as it is, 1 looks at nothing else."""

    key: ClassVar[str]
    label: ClassVar[str]
    summary: ClassVar[str]  # one sentence for an analyst: what it gives, and its price
    source: ClassVar[Source | None] = None
    aim: ClassVar[str] = "intra_list_diversity"  # key of the metric it is meant to raise
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

    def rerank(self, candidates: TopK, k: int, shelf: Shelf, histories: Histories | None = None) -> TopK:
        """The first k of every list, chosen anew from its candidates.

        candidates: (B, C) best first; histories: of the same rows (default: training histories of `candidates.users`).
        Returned scores are the candidates' own, so they need not fall along the list. Ties go to the better candidate.
        """
        if k < 1:
            raise ParamError(f"The list length k must be 1 or more; got {k}.")
        why = self.why_not(shelf)
        if why:
            raise Unsupported(f"{self.label} cannot be used here: {why}")
        there = candidates.items >= 0
        relevance = scaled(candidates.scores, there)
        given = shelf.histories(candidates.users) if histories is None else histories
        chosen = self._select(candidates.items, relevance, k, shelf, given)
        return picked(candidates, chosen, k)

    @abstractmethod
    def _select(self, items: np.ndarray, relevance: np.ndarray, k: int, shelf: Shelf, histories: Histories) -> np.ndarray:
        """int (B, k): columns of the candidates in their new order, -1 where there are no more.

        items: int32 (B, C), -1 padded at the end; relevance: float32 (B, C) in [0, 1], 0 where padded. No column twice,
        no padded column. Rows are independent of each other unless the method says otherwise (provider shares)."""


def scaled(scores: np.ndarray, there: np.ndarray) -> np.ndarray:
    """float32 (B, C): every row from 0 (its worst candidate) to 1 (its best); 1 where all are equal; 0 where nothing is."""
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    high = np.where(there, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    width = high - low
    flat = ~(width > 0)
    with np.errstate(invalid="ignore"):
        out = np.where(flat, 1.0, (np.where(there, scores, low) - low) / np.where(flat, 1.0, width))
    return np.where(there, out, 0.0).astype(np.float32)


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
