"""Intra-list diversity@k: how different the items of one list are."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ._base import ListMetric
from ._lists import Lists, divide


class IntraListDiversity(ListMetric):
    """1 − mean cosine over the pairs of items of a list: by their categories, else by co-occurrence embeddings.

    Source: Ziegler et al., Improving recommendation lists through topic diversification, 2005,
    https://doi.org/10.1145/1060745.1060754. Differs: cosine distance, mean over pairs. The sum over pairs of
    unit vectors is (|Σv|² − n) / 2, so no pair is ever formed. Items without a vector are left out; NaN for
    fewer than two. Cost: lists × k × vector size.
    """

    key = "intra_list_diversity"
    label = "Diversity within a list"
    help = "How different the items of one list are from each other: 0 means all alike, 1 means nothing in common."
    formula = "1 − mean over pairs of items in the list of the cosine of their categories (else of their co-occurrence vectors)"
    kind = "beyond"
    range = (0.0, 2.0)

    def per_list(self, lists: Lists, k: int) -> np.ndarray:
        features = lists.catalog.features
        vectors = features if features is not None else lists.catalog.embeddings
        row, position, item = lists.flat
        within = position < k
        ones = np.ones(int(within.sum()), np.float32)
        places = sparse.csr_matrix((ones, (row[within], item[within])), shape=(len(lists), lists.catalog.n_items))
        total = places @ vectors
        squared = total.multiply(total).sum(axis=1) if sparse.issparse(total) else np.einsum("bd,bd->b", total, total)
        known = np.diff(vectors.indptr) > 0 if sparse.issparse(vectors) else np.any(vectors, axis=1)
        n = places @ known.astype(np.float32)
        cosine = divide(np.asarray(squared, dtype=np.float64).ravel() - n, n * (n - 1))
        return np.clip(1 - cosine, 0.0, 2.0)
