"""The candidates of a fusion, user by user, and what is known of a user-item pair beside the parts' scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from ..context import QUIET, RunContext
from ..data.dataset import Dataset
from ..data.features import CYCLES
from ..data.histories import Histories
from ..data.topk import top_k
from ..metrics._catalog import category_features
from ..models._base import Recommender
from ..models._features import SIDES, SideFeatures

N_BANDS = 10  # bands of popularity, each with the same share of the interactions
TABLE_WIDTH = 8  # numbers that a row of an item or user table is brought down to
UNCHOSEN = ("text", "vector", CYCLES)  # kinds of columns passed over unless columns were chosen
DAY = 86_400.0
LAST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Block:
    """The candidates of B users, C of the one who has most. items: int32 (B, C) ascending codes, -1 behind them; scores: float32
    (B, C, P), the parts' normalised scores, 0 where there is no candidate; places: float32 (B, C, P), see `places`."""

    items: np.ndarray
    scores: np.ndarray
    places: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """bool (B, C): where there is a candidate."""
        return self.items >= 0


def block_of(scaled: list[np.ndarray], hidden: np.ndarray, depth: int) -> Block:
    """The union of every part's best `depth` items that are not hidden.

    scaled: P arrays (B, I), normalised; hidden: bool (B, I). Cost: a top-k a part, then B × C × P.
    """
    items = union_of_tops(scaled, hidden, depth)
    at = np.maximum(items, 0)
    scores = np.stack([np.take_along_axis(one, at, axis=1) for one in scaled], axis=2)
    scores[items < 0] = 0
    return Block(items, scores, places(scores, items >= 0, depth))


def union_of_tops(scaled: list[np.ndarray], hidden: np.ndarray, depth: int) -> np.ndarray:
    """int32 (B, C): ascending codes of the items among the best `depth` of any part, -1 behind them."""
    n_items = hidden.shape[1]
    tops = [top_k(np.where(hidden, -np.inf, one), min(depth, n_items))[0] for one in scaled]
    items = np.concatenate(tops, axis=1)
    items = np.sort(np.where(items < 0, LAST, items), axis=1)
    items[:, 1:][items[:, 1:] == items[:, :-1]] = LAST
    items.sort(axis=1)
    width = max(1, int((items < LAST).sum(axis=1).max(initial=1)))
    return np.where(items[:, :width] < LAST, items[:, :width], -1).astype(np.int32)


def places(scores: np.ndarray, real: np.ndarray, depth: int) -> np.ndarray:
    """float32 (B, C, P): where each part puts a candidate: 1 for its best, 0 beyond its best `depth`, in steps of the logarithm.

    1 - log(1 + rank) / log(1 + depth), ranks from 0. Every part's best `depth` are candidates, so these ranks are the
    ranks in the whole catalogue.
    """
    hidden = np.where(real[:, :, None], scores, -np.inf)
    order = np.argsort(-hidden, axis=1, kind="stable")
    rank = np.empty(order.shape, dtype=np.float32)
    np.put_along_axis(rank, order, np.arange(order.shape[1], dtype=np.float32)[None, :, None], axis=1)
    out = np.maximum(0, 1 - np.log1p(rank) / np.log1p(depth))
    return np.where(real[:, :, None], out, 0).astype(np.float32)


class Surroundings:
    """What is known of the users and items of a training set, apart from any model.

    learnt: the groups of the items and the numbers of their tables, worked out once (`learn`) and kept with the model, since
    tables are not. Popularity, age and activity are those of the training set at hand, relative to its own mean, so that what
    was learnt on a part of it holds for the whole.
    Shapes: items float32 (I, Fi), user_values -> float32 (B, Fu), columns as in `item_names`, `user_names`.
    """

    def __init__(self, data: Dataset, learnt: dict[str, Any]) -> None:
        self.data, self.groups = data, learnt["groups"]
        self.item_table, self.user_table = learnt.get("item_table"), learnt.get("user_table")
        counts = data.item_counts.astype(np.float64)
        self.item_names, columns = ["popularity"], [np.log((counts + 1) / (counts.mean() + 1))]
        if data.time is not None:
            self.item_names.append("age")
            columns.append(_ages(data))
        if self.item_table is not None:
            self.item_names += [f"item table {n + 1}" for n in range(self.item_table.shape[1])]
            columns += list(self.item_table.T)
        self.items = np.stack(columns, axis=1).astype(np.float32)
        self.user_names = ["activity", "entropy", "mainstream"]
        if self.user_table is not None:
            self.user_names += [f"user table {n + 1}" for n in range(self.user_table.shape[1])]
        sizes = np.diff(data.matrix("seen").indptr)
        self.mean_activity = float(sizes[sizes > 0].mean()) if (sizes > 0).any() else 1.0

    @staticmethod
    def learn(data: Dataset, ctx: RunContext = QUIET, *, tables: bool) -> dict[str, Any]:
        """What `__init__` wants: csr groups, and dense tables where they are asked for and there are any: of the columns the analyst
        chose; where nothing was chosen, of all but texts and vectors."""
        learnt: dict[str, Any] = {"groups": item_groups(data)}
        read = SideFeatures.fit(data, ctx, sides=SIDES if tables else (), without=UNCHOSEN if data.features is None else ())
        for side, table in read.tables.items():
            narrow = narrowed(table.matrix)
            if narrow is not None:
                learnt[f"{side}_table"] = narrow
        return learnt

    def user_values(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """users: training codes, or None for users from outside, of whom no table knows anything."""
        taken = histories.matrix(self.data.n_items)
        sizes = np.diff(taken.indptr).astype(np.float64)
        popularity = np.asarray(taken @ self.items[:, 0].astype(np.float64))
        columns = [np.log((sizes + 1) / (self.mean_activity + 1)), entropy(taken @ self.groups), popularity / np.maximum(sizes, 1)]
        if self.user_table is not None:
            width = self.user_table.shape[1]
            columns += list(self.user_table[users].T if users is not None else np.zeros((width, len(sizes))))
        return np.stack(columns, axis=1).astype(np.float32)


def item_groups(data: Dataset) -> sparse.csr_matrix:
    """csr float32 (I, G): the item's shares of its categories; without categories, its band of popularity.

    Bands hold about the same number of interactions each, the most popular items first."""
    features = category_features(data.item_table, data.meta)
    if features is not None:
        shares = features.copy()
        shares.data **= 2  # rows of length 1 with equal entries become rows of sum 1
        return sparse.csr_matrix(shares, dtype=np.float32)
    counts = data.item_counts
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    band = np.empty(data.n_items, dtype=np.int64)
    band[order] = np.minimum(N_BANDS - 1, before * N_BANDS // max(1, int(counts.sum())))
    return sparse.csr_matrix((np.ones(data.n_items, np.float32), (np.arange(data.n_items), band)), shape=(data.n_items, N_BANDS))


def entropy(weights: Any) -> np.ndarray:
    """float (B,): entropy of each row's shares in nats over log(columns): 0 all in one group, 1 the same in all."""
    dense = np.asarray(weights.todense() if sparse.issparse(weights) else weights, dtype=np.float64)
    total = dense.sum(axis=1, keepdims=True)
    share = np.divide(dense, total, out=np.zeros_like(dense), where=total > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(axis=1) / max(np.log(dense.shape[1]), 1.0)


def narrowed(features: sparse.csr_matrix) -> np.ndarray | None:
    """float32 (n, <= TABLE_WIDTH): the main directions of the rows, deviation 1 each; None where there are no features."""
    from scipy.sparse.linalg import svds

    if features.shape[1] == 0:
        return None
    if min(features.shape) <= TABLE_WIDTH:
        dense = features.toarray()
    else:
        start = np.random.default_rng(0).standard_normal(min(features.shape))
        left, values, right = svds(features.astype(np.float64), k=TABLE_WIDTH, v0=start)
        sign = np.sign(right[np.arange(TABLE_WIDTH), np.abs(right).argmax(axis=1)])
        dense = (left * values * sign)[:, ::-1]
    spread = dense.std(axis=0)
    return ((dense - dense.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)).astype(np.float32)


def _ages(data: Dataset) -> np.ndarray:
    """float (I,): log of the days from an item's first interaction to the last one of the training set; 0 days where it has none."""
    first = np.full(data.n_items, data.time.max() if len(data) else 0, dtype=np.int64)
    np.minimum.at(first, data.item, data.time)
    return np.log1p((data.time.max() - first) / DAY) if len(data) else np.zeros(data.n_items)


def item_vectors(part: Recommender) -> np.ndarray | None:
    """float32 (I, d), rows of length 1 (or 0): the items as a part sees them; None where it keeps no vector an item."""
    for name in ("item_vectors", "item_factors"):
        vectors = getattr(part, name, None)
        if isinstance(vectors, np.ndarray) and vectors.ndim == 2 and len(vectors) == part.fitted.n_items:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return None


def closeness(vectors: np.ndarray, histories: Histories, items: np.ndarray) -> np.ndarray:
    """float32 (B, C): cosine of each candidate's vector with the mean vector of the user's history.

    It does not change when a part that is fitted again finds the same space turned around.
    Shapes: vectors (I, d) of unit rows, items (B, C) with -1 for none (0 there).
    """
    mean = histories.matrix(len(vectors)) @ vectors  # (B, d)
    lengths = np.linalg.norm(mean, axis=1, keepdims=True)
    mean = mean / np.where(lengths > 0, lengths, 1)
    near = np.einsum("bcd,bd->bc", vectors[np.maximum(items, 0)], mean)
    return np.where(items >= 0, near, 0).astype(np.float32)
