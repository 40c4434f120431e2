"""What may not be recommended becomes -inf."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..errors import Unsupported


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
