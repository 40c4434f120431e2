"""Items as vectors of what their table says: every field has an equal say, rare categories a larger one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from ...data.features import KINDS, NOTHING, FeatureTable
from ...errors import Unsupported
from .._features import SideFeatures

CATEGORIES, TEXTS, NUMBERS = ("categorical", "multi_valued"), ("text", "vector"), ("numeric", "date")
READ = {
    "categories and text": (*CATEGORIES, *TEXTS),
    "categories": CATEGORIES,
    "everything": (*CATEGORIES, *TEXTS, *NUMBERS),
}  # of item columns
WIDEST = 512  # numbers of a plain array of vectors
UNREAD = {name: tuple(kind for kind in KINDS if kind not in kinds) for name, kinds in READ.items()}
CENTRES = np.arange(-2, 3, dtype=np.float32)  # deviations from the mean at which a number is "near" a point


@dataclass(frozen=True)
class ItemVectors:
    """Row i describes item i; the product of two rows is the weighted mean of their fields' cosines.

    Shapes: sparse csr (I, categories), dense (I, numbers of texts and numbers), float32. Rows of unit length, or zero where
    the table says nothing.
    """

    sparse: sparse.csr_matrix
    dense: np.ndarray

    @classmethod
    def of(cls, table: FeatureTable, kinds: Collection[str], weights: Mapping[str, float] | None = None) -> Self:
        """kinds: of the fields that are read. weights: name of a field -> its say, 1 where nothing is given."""
        weights = dict(weights or {})
        known = [*(name for name, _ in table.fields), *table.left_out]
        if strange := [name for name in weights if name not in known]:
            raise Unsupported(f"The item table has no column '{strange[0]}' to weigh.", f"Columns: {', '.join(known)}.")
        n, said = table.matrix.shape[0], np.array([not name.endswith(f"={NOTHING}") for name in table.names], dtype=bool)
        categories, others, total = [], [], np.zeros(n)
        for number, (name, kind) in enumerate(table.fields):
            say = float(weights.get(name, 1.0))
            if kind not in kinds or say <= 0:
                continue
            columns = np.flatnonzero((table.field == number) & said)
            block = table.matrix[:, columns]
            if kind in CATEGORIES:
                categories.append(_unit_rows(_rare_count_more(block)) * np.float32(np.sqrt(say)))
                total += say * (np.diff(block.indptr) > 0)
                continue
            dense = block.toarray()
            if kind in NUMBERS:
                missing = table.matrix[:, np.flatnonzero((table.field == number) & ~said)].toarray().any(axis=1)
                dense = _bumps(dense) * ~missing[:, None]
            length = np.linalg.norm(dense, axis=1, keepdims=True)
            others.append(np.float32(np.sqrt(say)) * dense / np.where(length > 0, length, 1))
            total += say * (length[:, 0] > 0)
        if not categories and not others:
            rule = "The item table has no columns of the chosen kinds, so items cannot be compared by them."
            raise Unsupported(rule, "Choose other fields, or add columns to the item table.")
        scale = (1 / np.sqrt(np.where(total > 0, total, 1))).astype(np.float32)
        wide = sparse.hstack(categories, format="csr", dtype=np.float32) if categories else sparse.csr_matrix((n, 0), dtype=np.float32)
        return cls(
            sparse.csr_matrix(sparse.diags(scale) @ wide, dtype=np.float32),
            np.ascontiguousarray(np.hstack(others) * scale[:, None] if others else np.zeros((n, 0)), dtype=np.float32),
        )

    def similar(self, rows: Any) -> np.ndarray:
        """float32 (b, I): each of some items beside all."""
        return (self.sparse[rows] @ self.sparse.T).toarray() + self.dense[rows] @ self.dense.T

    def scores(self, entries: sparse.csr_matrix) -> np.ndarray:
        """float32 (B, I): for each row of entries (csr (B, I)) the sum of entry times similarity."""
        return np.asarray((entries @ self.sparse @ self.sparse.T).toarray() + (entries @ self.dense) @ self.dense.T, dtype=np.float32)

    def short(self, rng: np.random.Generator) -> np.ndarray:
        """float64 (I, m): the vectors as one plain array, reduced to WIDEST numbers by singular vectors where they are longer."""
        from scipy.sparse.linalg import svds

        wide = sparse.hstack([self.sparse, sparse.csr_matrix(self.dense)], format="csr").astype(np.float64)
        if min(wide.shape) <= WIDEST + 1:
            return wide.toarray()
        left, size, _ = svds(wide, WIDEST, v0=rng.normal(size=min(wide.shape)))
        return left * size

    def state(self) -> dict[str, Any]:
        return {"vectors.sparse": self.sparse, "vectors.dense": self.dense}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Self:
        return cls(sparse.csr_matrix(state["vectors.sparse"]), np.asarray(state["vectors.dense"]))


def item_table(read: SideFeatures) -> FeatureTable:
    """The features of the items; raises where no column gives any."""
    if "item" not in read.tables:
        rule = "No column of the item table can be read, so items cannot be told apart by them."
        raise Unsupported(rule, "Look at what each column is on the Data page.")
    return read.tables["item"]


def _rare_count_more(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """Columns times log(1 + items / items that have it)."""
    counts = np.bincount(block.indices, minlength=block.shape[1])
    rare = np.log1p(block.shape[0] / np.maximum(counts, 1)).astype(np.float32)
    return sparse.csr_matrix(block @ sparse.diags(rare), dtype=np.float32)


def _unit_rows(block: sparse.csr_matrix) -> sparse.csr_matrix:
    length = np.sqrt(np.asarray(block.multiply(block).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(length > 0, length, 1)) @ block, dtype=np.float32)


def _bumps(values: np.ndarray) -> np.ndarray:
    """(n, d) standardised numbers -> (n, 5 d): how near each is to five points, so that near numbers have a cosine near 1."""
    near = np.exp(-0.5 * (values[:, :, None] - CENTRES) ** 2)
    return near.reshape(len(values), -1)
