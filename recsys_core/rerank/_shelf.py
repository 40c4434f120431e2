"""What re-ranking knows of the items: categories, or who had them; popularity; the users' pasts. All from training data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.dataset import Dataset
from ..data.histories import Histories
from ..metrics import Catalog
from ..metrics._catalog import category_names

NEIGHBOURS = 10  # items whose categories stand in for those an item lacks
LENDERS = 5_000  # items, the most popular that have categories, among which these are looked for
BORROWED = 32  # categories an item may borrow
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Shelf:
    """train: the training set; its item_table may be missing. No model and no torch in sight, so the app may use it.

    Items without categories among items that have them are not "unlike everything": they borrow the mean categories of the
    ten items whose public is most like theirs (cosine of the co-occurrence embeddings), and where nobody had them the mean
    of all items. So they stand in one space with the others, and similarities stay those of a kernel, as DPP needs.
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
        if not self.has_categories:
            return "who had the items (there are no item categories)"
        return "item categories" + (" (and who had the items, where they have none)" if self.n_without else "")

    @cached_property
    def n_without(self) -> int:
        """Items training has met that have no categories, where others have some."""
        return int(np.count_nonzero((np.diff(self.catalog.features.indptr) == 0) & (self.popularity > 0))) if self.has_categories else 0

    @property
    def notes(self) -> list[str]:
        """Sentences for people: what stands in where items have no categories."""
        if not self.has_categories:
            return ["The items have no categories: which items are alike is judged by who had them."]
        if not self.n_without:
            return []
        what = "1 item has no category and counts" if self.n_without == 1 else f"{self.n_without:,} items have no category and count"
        return [f"{what} as like the items that the same people had."]

    @cached_property
    def groups(self) -> sparse.csr_matrix:
        """csr float32 (I, G), rows summing to 1: the item's shares of each category, borrowed where it has none; without
        categories at all, the group of items with the same public it belongs to (no row where nobody had the item)."""
        shares = self.catalog.shares
        missing = np.flatnonzero(np.diff(shares.indptr) == 0) if self.has_categories else np.empty(0, np.int64)
        return shares if not len(missing) else (shares + self._borrowed(shares, missing)).tocsr()

    @cached_property
    def traits(self) -> sparse.csr_matrix | np.ndarray:
        """float32 (I, D), rows of length 1, whose products are similarities: csr of categories, or dense embeddings."""
        if self.has_categories:
            return unit_rows(self.groups)
        vectors = self.catalog.embeddings
        unknown = ~np.any(vectors, axis=1)
        if not unknown.any() or unknown.all():
            return vectors
        mean = vectors[~unknown].mean(axis=0)
        return np.where(unknown[:, None], mean / max(1e-12, float(np.linalg.norm(mean))), vectors).astype(np.float32)

    @cached_property
    def group_names(self) -> list[str]:
        """(G,) for people: the categories, or "group 1" … where they were found by clustering."""
        if not self.has_categories:
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

    def _borrowed(self, shares: sparse.csr_matrix, missing: np.ndarray) -> sparse.csr_matrix:
        """csr (I, G): rows of `missing` only. Cost: missing × lenders × 64, in blocks."""
        has = np.diff(shares.indptr) > 0
        lenders = self.catalog.by_popularity[has[self.catalog.by_popularity]][:LENDERS]
        usual = sparse.csr_matrix(shares[lenders].mean(axis=0), dtype=np.float32)
        vectors, n = self.catalog.embeddings, min(NEIGHBOURS, len(lenders))
        parts = []
        for block in np.array_split(missing, max(1, -(-len(missing) * len(lenders) // _BLOCK_CELLS))):
            alike = vectors[block] @ vectors[lenders].T
            near = np.argpartition(-alike, n - 1, axis=1)[:, :n]
            weight = np.maximum(np.take_along_axis(alike, near, axis=1), 0)
            row = np.repeat(np.arange(len(block)), n)
            picks = sparse.csr_matrix((weight.ravel(), (row, near.ravel())), shape=(len(block), len(lenders)))
            found = picks @ shares[lenders]
            nothing = np.asarray(found.sum(axis=1)).ravel() <= 1e-6
            parts.append(found + sparse.csr_matrix(nothing[:, None].astype(np.float32)) @ usual)
        rows = largest(sparse.vstack(parts, format="csr"), BORROWED)
        place = sparse.csr_matrix((np.ones(len(missing), np.float32), (missing, np.arange(len(missing)))), (len(has), len(missing)))
        return (place @ rows).astype(np.float32)


def largest(matrix: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """Only the n largest entries of every row, scaled so that rows sum to 1 (empty ones stay)."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    keep = order[np.arange(len(order)) - matrix.indptr[row[order]] < n]
    out = sparse.csr_matrix((matrix.data[keep], (row[keep], matrix.indices[keep])), shape=matrix.shape)
    sums = np.asarray(out.sum(axis=1)).ravel()
    out.data /= np.repeat(np.maximum(sums, 1e-12), np.diff(out.indptr)).astype(out.data.dtype)
    return out


def unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Rows scaled to length 1 (empty ones stay)."""
    out = matrix.astype(np.float32)
    lengths = np.sqrt(np.asarray(out.multiply(out).sum(axis=1)).ravel())
    out.data /= np.repeat(np.maximum(lengths, 1e-12), np.diff(out.indptr)).astype(np.float32)
    return out
