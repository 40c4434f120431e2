"""Groups of items chosen by the same users."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ....errors import Unsupported
from ...dataset import Dataset
from ..encoder import FeatureTable
from ._categories import categories_of

FEWEST, MOST = 2, 50  # clusters
DIRECTIONS = 32  # of the co-occurrence table that are looked at


def clusters_of(train: Dataset, rng: np.random.Generator) -> np.ndarray:
    """int32 (I,): the group of each item that somebody chose, else -1; group 0 has the most choices.

    Source: Dhillon 2001, "Co-clustering documents and words using bipartite spectral graph partitioning": singular vectors of the
    user-item matrix divided by the roots of its row and column sums, without the first one (it only tells popular from rare), then k-means.
    Differs: items only; directions weighted by their squared singular values, so that noise counts little; rows brought to unit length;
    as many groups as half the root of the number of items, from 2 to 50.
    Cost: O(interactions · 40) for the vectors, O(items · groups · 32) a round of k-means.
    """
    from sklearn.cluster import KMeans
    from sklearn.utils.extmath import randomized_svd

    chosen = np.flatnonzero(train.item_counts)
    users = np.flatnonzero(train.user_counts)
    if len(chosen) < 2 * FEWEST or len(users) < 3:
        raise Unsupported(f"Groups of items need 4 items and 3 users; there are {len(chosen)} and {len(users)}.", "Use more data.")
    table = train.matrix("binary")[users][:, chosen].astype(np.float64)
    rows, columns = np.sqrt(np.asarray(table.sum(1)).ravel()), np.sqrt(np.asarray(table.sum(0)).ravel())
    table = sparse.diags(1 / rows) @ table @ sparse.diags(1 / columns)
    seed = int(rng.integers(2**31))
    size = min(DIRECTIONS + 1, min(table.shape) - 1)
    _, strength, vectors = randomized_svd(sparse.csr_matrix(table), size, n_iter=4, random_state=seed)
    vectors = vectors.T * strength**2
    common = columns / np.linalg.norm(columns)  # the first direction; where groups share no user it is not the first found
    vectors -= common[:, None] * (common @ vectors)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    k = int(np.clip(round(np.sqrt(len(chosen)) / 2), FEWEST, MOST))
    found = KMeans(k, n_init=3, max_iter=50, random_state=seed).fit_predict(vectors)
    weight = np.bincount(found, train.item_counts[chosen], minlength=k)
    rank = np.empty(k, dtype=np.int32)
    rank[np.argsort(-weight, kind="stable")] = np.arange(k, dtype=np.int32)
    out = np.full(train.n_items, -1, dtype=np.int32)
    out[chosen] = rank[found]
    return out


def named(cluster: np.ndarray, train: Dataset, items: FeatureTable | None) -> list[str]:
    """ "1 (Horror)": its number and the category it has most choices of beyond what is usual; without categories its number."""
    k = int(cluster.max()) + 1
    try:
        names, _, table, usual = categories_of(train, items)
    except Unsupported:
        return [str(number + 1) for number in range(k)]
    known = cluster >= 0
    weight = sparse.csr_matrix((train.item_counts[known].astype(np.float64), (cluster[known], np.flatnonzero(known))), (k, train.n_items))
    share = (weight @ table).toarray()
    share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
    return [f"{number + 1} ({names[best]})" for number, best in enumerate((share - usual).argmax(1))]
