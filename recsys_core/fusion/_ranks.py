"""What fusions by order share: which places the items hold in the list of a part, and how good the lists of a part are."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from ..data.topk import top_k
from ..metrics._lists import discounts, hit_matrix
from ..models._masking import codes_at
from ._normalise import normalise


def ballot(scores: np.ndarray, ignore: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """(items int32 (B, d), places float64 (B, d)) of the first `depth` items of every row, seen ones left out.

    Equal scores share the mean of their places. A place is NaN where there is no item, and where the item ties with one
    beyond the depth: which of them came first would be chance. Cost: one partition of B × I and two passes.
    """
    hidden = np.where(ignore, -np.inf, np.asarray(scores, dtype=np.float32))
    width = min(depth, hidden.shape[1])
    items, best = top_k(hidden, width)
    filled = np.where(items >= 0, best, -np.inf)
    last = filled[:, -1:]
    crowded = ((hidden >= last) & (hidden > -np.inf)).sum(axis=1, keepdims=True) > width
    places = rankdata(-filled, axis=1) if len(filled) else np.empty(filled.shape)
    return items, np.where((items < 0) | (crowded & (filled == last)), np.nan, places)


def spread(items: np.ndarray, values: np.ndarray, n_items: int) -> np.ndarray:
    """float32 (B, I): values (B, d) at the items' columns, 0 elsewhere; NaN counts as 0."""
    out = np.zeros((len(items), n_items), dtype=np.float32)
    row, column = np.nonzero(~np.isnan(values) & (items >= 0))
    out[row, items[row, column]] = values[row, column]
    return out


def mean_minmax(scores: list[np.ndarray], ignore: np.ndarray) -> np.ndarray:
    """float32 (B, I), 0 to 1: the mean over the parts of their scores, each brought to 0 to 1 for the user's unseen items."""
    total = np.zeros(scores[0].shape, dtype=np.float32)
    for part in scores:
        total += np.clip(normalise(part, "minmax", ignore), 0, 1)
    return total / len(scores)


def ndcg_rows(scores: np.ndarray, seen: np.ndarray, relevant: sparse.csr_matrix, k: int, order: np.ndarray | None = None) -> np.ndarray:
    """float64 (B,): NDCG@k of the list of every row; 0 where nothing is relevant. order: codes (B, C) of the only candidates there
    are; who comes first in it goes before those with equal scores."""
    open_ = np.where(seen, -np.inf, np.asarray(scores, dtype=np.float32))
    items, _ = top_k(open_ if order is None else np.take_along_axis(open_, order, axis=1), k)
    items = items if order is None else codes_at(order, items)
    ideal = np.concatenate([[np.inf], np.cumsum(discounts(k))])
    return (hit_matrix(items, relevant) @ discounts(k)) / ideal[np.minimum(np.diff(relevant.indptr), k)]
