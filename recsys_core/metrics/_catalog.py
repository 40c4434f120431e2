"""What metrics beyond accuracy know of the items: popularity, features, co-occurrence; all from training data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.dataset import Dataset
from ._shares import clusters

HEAD_SHARE = 0.8  # the popular head holds this share of the training interactions
EMBEDDING_SIZE = 64
_LIST_SEPARATORS = r"[|,;]"


@dataclass(frozen=True, eq=False)
class Catalog:
    """The items as training saw them. Made once a training set; its parts are worked out when first read."""

    train: Dataset

    @classmethod
    def from_dataset(cls, train: Dataset) -> Catalog:
        return cls(train)

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @cached_property
    def n_users(self) -> int:
        """Users with a relevant training interaction."""
        return int((self.train.user_counts > 0).sum())

    @property
    def popularity(self) -> np.ndarray:
        """int64 (I,): training users per item."""
        return self.train.item_counts

    @property
    def seen(self) -> sparse.csr_matrix:
        return self.train.matrix("seen")

    @cached_property
    def by_popularity(self) -> np.ndarray:
        """int64 (I,): item codes, most popular first, ties by code."""
        return np.argsort(-self.popularity, kind="stable")

    @cached_property
    def popularity_rank(self) -> np.ndarray:
        """int64 (I,): place of every item in `by_popularity`, from 0."""
        rank = np.empty(self.n_items, dtype=np.int64)
        rank[self.by_popularity] = np.arange(self.n_items)
        return rank

    @cached_property
    def popularity_float(self) -> np.ndarray:
        """`popularity` as float, kept: metrics recognise arrays they have met."""
        return self.popularity.astype(np.float64)

    @cached_property
    def self_information(self) -> np.ndarray:
        """float (I,): −log2(share of training users who had the item), bits; unseen items count as one user."""
        return np.log2(max(1, self.n_users) / np.maximum(self.popularity, 1))

    @cached_property
    def long_tail(self) -> np.ndarray:
        """float (I,): 1 for items outside the head: the fewest most popular items with 80 % of the interactions."""
        return (self.popularity_rank >= head_size(self.popularity, HEAD_SHARE)).astype(np.float64)

    @cached_property
    def features(self) -> sparse.csr_matrix | None:
        """csr (I, F), rows of length 1 (or 0): categories of `item_table`; None when it has none."""
        return category_features(self.train.item_table, self.train.meta)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """float32 (I, <= 64), rows of length 1 (or 0): a randomised truncated SVD of the user-normalised columns
        of the training matrix, so that cosines follow how often two items go to the same users. Seeded."""
        return co_occurrence_embeddings(self.train.matrix("binary"))

    @cached_property
    def shares(self) -> sparse.csr_matrix:
        """csr float32 (I, G), rows summing to 1 (or empty): the item's share of each of its categories; without categories,
        1 for the group of items with the same public it belongs to."""
        if self.features is None:
            return clusters(self.embeddings)
        shares = self.features.copy()  # rows of length 1 with equal entries: 1 / sqrt(n) each
        shares.data **= 2
        return shares

    @property
    def similarity(self) -> str:
        """Which of the two item similarities diversity uses."""
        return "item categories" if self.features is not None else "co-occurrence in training"


def head_size(popularity: np.ndarray, share: float) -> int:
    """How many of the most popular items hold `share` of all interactions."""
    running = np.cumsum(np.sort(popularity)[::-1])
    return int(np.searchsorted(running, share * running[-1]) + 1) if len(running) and running[-1] else 0


def category_columns(table: pd.DataFrame | None, meta: dict) -> list[str]:
    """The columns of an item table that hold categories: as ingest noted them, else by their usual names."""
    if table is None:
        return []
    named = (meta.get("item_columns") or {}).get("categories")
    named = [named] if isinstance(named, str) else list(named or [])
    if not named:
        usual = {"genre", "genres", "category", "categories", "tag", "tags", "class"}
        named = [column for column in table.columns if str(column).lower() in usual]
    return [column for column in named if column in table.columns]


def category_features(table: pd.DataFrame | None, meta: dict) -> sparse.csr_matrix | None:
    """csr float32 (I, F) of category tokens (`A|B` is two, and `A B` where ingest noted that blanks part them),
    rows scaled to length 1; None without categories."""
    found = _category_tokens(table, meta)
    if found is None:
        return None
    row, codes, names = found
    matrix = sparse.csr_matrix((np.ones(len(row), np.float32), (row, codes)), shape=(len(table), len(names)))
    matrix.data[:] = 1
    lengths = np.sqrt(np.diff(matrix.indptr))
    matrix.data /= np.repeat(lengths, np.diff(matrix.indptr)).astype(np.float32)
    return matrix


def category_names(table: pd.DataFrame | None, meta: dict) -> list[str]:
    """What the columns of `category_features` are called, in their order; the column's name is told where there are several."""
    found = _category_tokens(table, meta)
    tokens = [] if found is None else list(found[2])
    several = len(category_columns(table, meta)) > 1
    return tokens if several else [token.partition("=")[2] for token in tokens]


def _category_tokens(table: pd.DataFrame | None, meta: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(row, code, names) of every category token "column=value" of a table; None where it has none."""
    columns = category_columns(table, meta)
    noted = meta.get("item_columns") or {}
    parted_by = _LIST_SEPARATORS if noted.get("separator") != " " else r"\s+"
    rows, tokens = [], []
    for column in columns:
        words = table[column].reset_index(drop=True).astype("str").str.split(parted_by, regex=True).explode()
        words = words.str.strip()
        words = words[~words.str.lower().isin(["", "nan", "none", "<na>", "null", "(no genres listed)"]) & words.notna()]
        rows.append(words.index.to_numpy())
        tokens.append((f"{column}=" + words).to_numpy(dtype=object))
    if not columns or sum(map(len, rows)) == 0:
        return None
    codes, names = pd.factorize(np.concatenate(tokens))
    return np.concatenate(rows), codes, names


def co_occurrence_embeddings(binary: sparse.csr_matrix, size: int = EMBEDDING_SIZE, n_iter: int = 2) -> np.ndarray:
    """float32 (I, <= size) of unit rows.

    Source: Halko, Martinsson and Tropp, Finding structure with randomness, 2011, algorithm 4.4,
    https://doi.org/10.1137/090771806. Cost: 2 · n_iter + 2 sparse products of nnz × (size + 8).
    """
    per_user = np.diff(binary.indptr)
    per_item = np.bincount(binary.indices, minlength=binary.shape[1])
    scaled = binary.astype(np.float32)  # each item's column gets length 1: cosine between items, not popularity
    scaled.data = scaled.data / np.sqrt(np.maximum(per_item, 1)).astype(np.float32)[scaled.indices]
    rank = min(size + 8, *binary.shape)
    if rank == 0 or not per_user.any():
        return np.zeros((binary.shape[1], 1), dtype=np.float32)
    basis = np.linalg.qr(scaled @ np.random.default_rng(0).standard_normal((binary.shape[1], rank)).astype(np.float32))[0]
    for _ in range(n_iter):
        basis = np.linalg.qr(scaled @ (scaled.T @ basis))[0]
    _, singular, right = np.linalg.svd((scaled.T @ basis).T, full_matrices=False)
    vectors = (right.T * singular)[:, :size]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-12).astype(np.float32)
