"""What may not be recommended becomes -inf."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..data.topk import top_k
from ..errors import ParamError, Unsupported


def check_k(k: int) -> None:
    """The rule for the length of lists."""
    if not 1 <= int(k) <= 10_000:
        raise ParamError(f"k must be a whole number from 1 to 10000; got {k}.")


def rows_or_empty(matrix: sparse.csr_matrix, users: np.ndarray) -> sparse.csr_matrix:
    """Rows of the users; an empty row for -1."""
    rows = matrix[np.maximum(users, 0)]
    if (users < 0).any():
        rows = sparse.diags((users >= 0).astype(np.float32)).tocsr() @ rows
        rows.eliminate_zeros()
    return rows


def masked(scores: np.ndarray, seen: sparse.csr_matrix | None, allowed: np.ndarray | None) -> np.ndarray:
    """Scores with -inf where the item was seen or is not allowed (a copy if it had to be read-only)."""
    if not scores.flags.writeable:
        scores = scores.copy()
    if seen is not None:
        scores[np.repeat(np.arange(len(scores)), np.diff(seen.indptr)), seen.indices] = -np.inf
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    return scores


def allowed_mask(candidates: np.ndarray | None, n_items: int) -> np.ndarray | None:
    """bool (I,) from item codes or a bool mask; None when all are allowed."""
    if candidates is None:
        return None
    candidates = np.asarray(candidates)
    if candidates.dtype == bool:
        if candidates.shape != (n_items,):
            raise Unsupported(f"A mask of candidates must have one entry for each of the {n_items} items; got {candidates.shape}.")
        return candidates
    if candidates.size and (candidates.min() < 0 or candidates.max() >= n_items):
        raise Unsupported(f"Candidates must be item codes from 0 to {n_items - 1}; got {candidates.min()} to {candidates.max()}.")
    allowed = np.zeros(n_items, dtype=bool)
    allowed[candidates.astype(np.int64)] = True
    return allowed


def top_k_fair(scores: np.ndarray, k: int, allowed: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(items, scores) of the k best allowed items of every row of float (B, I); equal scores come in an order of chance.

    A model that knows nothing of new items gives all of them one score. By item code such a list would follow whatever the ids
    follow, often popularity, and look better than chance. Here the allowed items stand in one shuffled circle, and every user's
    order begins elsewhere in it: the same for the same user, whoever is asked for beside.
    """
    items = fair_order(allowed, users)
    if not items.size:
        return top_k(scores[:, :0], k)
    at, best = top_k(np.take_along_axis(scores, items, axis=1), k)
    return codes_at(items, at), best


def fair_order(allowed: np.ndarray, users: np.ndarray) -> np.ndarray:
    """int32 (B, C): the codes of the allowed items, for every user in another order of chance."""
    codes = np.random.default_rng(len(allowed)).permutation(np.flatnonzero(allowed)).astype(np.int32)
    if not len(codes):
        return np.empty((len(users), 0), dtype=np.int32)
    start = (np.asarray(users).astype(np.uint64) + 1) * np.uint64(2654435761) % np.uint64(2**32) % np.uint64(len(codes))
    return codes[(np.arange(len(codes), dtype=np.int64) + start.astype(np.int64)[:, None]) % len(codes)]


def codes_at(order: np.ndarray, at: np.ndarray) -> np.ndarray:
    """int32 (B, k): the codes that stand at places `at` (-1: nothing) of the rows of `order`."""
    return np.where(at >= 0, np.take_along_axis(order, np.maximum(at, 0), axis=1), -1).astype(np.int32)
