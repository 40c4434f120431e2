"""What all factor models share: scores, fast top-k, similar items, save and load."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.topk import top_k
from .._base import Recommender
from .._portable import Portable
from .._updating import changed_users, grown
from .._vectors import cosines
from ._fewer_factors import principal, with_fewer_factors

BLOCK_BYTES = 4 * 2**20  # a block of scores: small enough to stay in the cache between its passes


class FactorModel(Recommender):
    """A user and an item are vectors; the score is their product, plus the item's bias if it has one.

    Shapes: user_factors float32 (U, F), item_factors float32 (I, F), item_bias float32 (I,) or None.
    A model writes `_fit` (ending in `_learned`) and `_fold_in`.
    """

    family = "Matrix factorisation"
    users_are_solved: ClassVar[bool] = True  # vectors of training users are those of their histories; False: learnt otherwise
    user_factors: np.ndarray
    item_factors: np.ndarray
    item_bias: np.ndarray | None = None
    weight_scale: float = 1.0  # what the weights of interactions were divided by, where a model has such weights

    def _learned(self, user_factors: np.ndarray, item_factors: np.ndarray, item_bias: np.ndarray | None = None) -> None:
        """Keep what was learnt and the arrays scoring runs on."""
        self.user_factors = np.ascontiguousarray(user_factors, dtype=np.float32)
        self.item_factors = np.ascontiguousarray(item_factors, dtype=np.float32)
        self.item_bias = None if item_bias is None else np.ascontiguousarray(item_bias, dtype=np.float32)
        # A bias is one more factor that every user has with weight 1: one matrix product scores it all.
        bias = [] if self.item_bias is None else [self.item_bias[:, None]]
        self._catalogue = np.ascontiguousarray(np.hstack([self.item_factors, *bias]))

    def _queries(self, vectors: np.ndarray) -> np.ndarray:
        """(B, F) user vectors -> (B, F or F + 1) to multiply the catalogue with."""
        vectors = np.asarray(vectors, dtype=np.float32)
        return vectors if self.item_bias is None else np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])

    @property
    def item_vectors(self) -> np.ndarray:
        """float32 (I, F): the vector of every item; row i is item code i."""
        return self.item_factors

    def user_vectors(self, histories: Histories) -> np.ndarray:
        """float32 (B, F): the vectors of histories, in the space of the items; 0 for empty ones."""
        out = np.zeros((len(histories), self.item_factors.shape[1]), dtype=np.float32)
        some = np.flatnonzero(histories.lengths > 0)
        if len(some):
            out[some] = self._fold_in(histories.take(some))
        return out

    @abstractmethod
    def _fold_in(self, histories: Histories) -> np.ndarray:
        """float (B, F): the user vectors of histories, none of them empty."""

    def _solved_users(self, data: Dataset, ctx: RunContext) -> np.ndarray:
        """float32 (U, F): the vectors of all training users from their histories, as for new users."""
        out = np.zeros((data.n_users, self.item_factors.shape[1]), dtype=np.float32)
        with_history = np.flatnonzero(self._history_sizes() > 0)
        for users in np.array_split(with_history, max(1, len(with_history) // 4096)):
            ctx.check()
            if len(users):
                out[users] = self._fold_in(data.histories(users))
        return out

    def _update(self, before: Dataset, ctx: RunContext) -> None:
        """The vectors of users who did something since, from their histories; items stay where they are."""
        self._take_in_users(changed_users(before, self.fitted))

    def _take_in_users(self, users: np.ndarray) -> None:
        """Solve the vectors of these users again, in a copy."""
        factors = grown(self.user_factors, self.fitted.n_users)
        for some in np.array_split(users, max(1, len(users) // 4096)):
            if len(some):
                factors[some] = self.user_vectors(self.fitted.histories(some))
        self.user_factors = factors

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._queries(self.user_factors[users]) @ self._catalogue.T

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._queries(self._fold_in(histories)) @ self._catalogue.T

    def _topk(self, users: np.ndarray, k: int, seen: sparse.csr_matrix | None, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        return factor_topk(self._queries(self.user_factors[users]), self._catalogue, k, seen, allowed)

    def _similar(self, items: np.ndarray) -> np.ndarray:
        return cosines(self.item_factors, items)

    # ---- for a bundle ----------------------------------------------------------------------------
    def _factors_portable(self, form: str, settings: dict[str, Any], **more: np.ndarray) -> Portable:
        """Vectors and biases under this form (one of `portable.forms` that are `Factors`). more: further arrays it reads."""
        bias = {} if self.item_bias is None else {"bias": self.item_bias}
        settings = {"threshold": self.fitted.threshold, **settings}
        users = {"users": self.user_factors}
        return Portable(form, {"items": self.item_factors} | bias | more, settings, user_matrices=users, prune=self._fewer_factors)

    def _fewer_factors(self, share: float) -> Portable:
        """The same with this share of the factors taken out."""
        return replace(with_fewer_factors(self, share)._portable(), prune=None)

    def _turn_to(self, keep: int) -> np.ndarray:
        """(F, k): what vectors are multiplied with to have `keep` factors; orthonormal columns."""
        return principal(self.user_factors, self.item_factors, keep)

    def _turned(self, turn: np.ndarray) -> None:
        """Optional: what else lies in the space of the factors goes over to `x @ turn` (F, k)."""

    def _state(self) -> dict[str, Any]:
        bias = {} if self.item_bias is None else {"item_bias": self.item_bias}
        return {"user_factors": self.user_factors, "item_factors": self.item_factors, "weight_scale": self.weight_scale} | bias

    def _restore(self, state: dict[str, Any]) -> None:
        self.weight_scale = float(state.get("weight_scale", 1.0))
        self._learned(state["user_factors"], state["item_factors"], state.get("item_bias"))


# ---- top-k ---------------------------------------------------------------------------------------
def factor_topk(
    queries: np.ndarray,
    catalogue: np.ndarray,
    k: int,
    seen: sparse.csr_matrix | None = None,
    allowed: np.ndarray | None = None,
    threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """(items, scores) of the k best products of each query with the catalogue; ties by item code.

    Shapes: queries (B, F), catalogue (I, F), seen csr (B, I), allowed bool (I,) -> int32 (B, k) with -1
    and float32 (B, k) with NaN where nothing is left.
    Cost: B × I × F multiplications and three passes over B × I scores, a few MiB of them at a time.
    """
    codes = None
    if allowed is not None:
        codes = np.flatnonzero(allowed)
        catalogue = catalogue[codes]
        seen = None if seen is None else seen[:, codes]
    n_rows, n_items = len(queries), len(catalogue)
    items = np.full((n_rows, k), -1, dtype=np.int32)
    scores = np.full((n_rows, k), np.nan, dtype=np.float32)
    if n_items == 0:
        return items, scores
    rows = int(np.clip(BLOCK_BYTES // (4 * n_items), 8, 4096))
    blocks = [slice(start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]
    run = partial(_rank_block, queries, np.ascontiguousarray(catalogue).T, k, seen, items, scores)
    threads = min(threads or usable_threads(), len(blocks))
    if threads <= 1:
        for block in blocks:
            run(block)
    else:
        with single_threaded_blas(), ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, blocks))
    if codes is not None:
        items = np.where(items >= 0, codes[items], -1).astype(np.int32)
    return items, scores


def _rank_block(queries, by_item, k, seen, items, scores, rows: slice) -> None:
    block = queries[rows] @ by_item
    if seen is not None:
        start, stop = seen.indptr[rows.start], seen.indptr[rows.stop]
        block[np.repeat(np.arange(len(block)), np.diff(seen.indptr[rows.start : rows.stop + 1])), seen.indices[start:stop]] = -np.inf
    items[rows], scores[rows] = top_k(block, k, may_be_nan=False)


# ---- sizes and threads ---------------------------------------------------------------------------
def auto_factors(stats: DatasetStats, largest: int = 128) -> int:
    """A power of two that grows with the square root of the data: 32 for 100 thousand interactions, 128 for 1 million."""
    return int(2 ** np.clip(np.round(np.log2(max(1.0, stats.n_interactions) ** 0.5 / 8)), 4, np.log2(largest)))


def raw_weights(values: np.ndarray, weighting: str) -> np.ndarray:
    """float64 weights of interactions. binary: 1; log: log2(1 + value), 1 for a value of 1; linear: value."""
    if weighting == "binary":
        return np.ones(np.shape(values))
    values = np.maximum(values, 0).astype(np.float64)
    return np.log2(1 + values) if weighting == "log" else values


def mean_weight(counts: sparse.csr_matrix, weighting: str) -> float:
    """What weights are divided by, so that other settings mean the same whatever the scale of the values."""
    return max(float(raw_weights(counts.data, weighting).mean()), 1e-12) if counts.nnz else 1.0


def log_popularity(data: Dataset) -> np.ndarray:
    """float64 (I,): log of each item's share of all interactions, one added to every count."""
    counts = data.item_counts + 1.0
    return np.log(counts / counts.sum())


def noise_level(stats: DatasetStats) -> float:
    """The largest singular value that a random matrix of this size and density would have, √density × (√U + √I).

    Regularisation of a squared loss acts as a threshold on singular values: "auto" sets it on this scale.
    """
    return float(np.sqrt(stats.density) * (np.sqrt(stats.n_users) + np.sqrt(stats.n_items)))


def factor_bytes(stats: DatasetStats, factors: int) -> int:
    """Bytes of both factor matrices in float32."""
    return 4 * (stats.n_users + stats.n_items) * factors


def usable_threads() -> int:
    """Threads for scoring: OMP_NUM_THREADS where it is set, as every other numeric library here has it, else the cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else RunContext().n_threads


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """implicit and the scoring blocks bring their own threads: a BLAS that adds more makes them up to 10 × slower."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield
