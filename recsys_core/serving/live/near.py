"""Lists out of very large catalogues: an index of item vectors instead of a product with all of them.

Only where it pays: exact search over 300,000 items of 64 numbers takes some 10 ms of one core. Below that nothing is built and every
list is exact.
Needs faiss, an extra: `pip install -r requirements-ann.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import Unsupported
from ...portable.bundle import Bundle
from ...portable.lists import best_of

FROM_ITEMS = 300_000
NEIGHBOURS, BUILD_EFFORT, SEARCH_EFFORT = 32, 100, 128  # of the graph: links an item, width of the search while it is built, and at work
SPARE, TRIED = 50, 200  # items fetched beyond those asked for; users the recall is measured on
MISSING = "An index for nearest neighbours needs faiss."


@dataclass(frozen=True, eq=False)
class Near:
    """recall: mean share of the exact best `k` that the index finds too, on `sample` users. seconds: it took to build."""

    index: Any
    n_items: int
    recall: float
    k: int
    sample: int
    seconds: float

    @classmethod
    def build(cls, bundle: Bundle, *, from_items: int = FROM_ITEMS, k: int = 20, seed: int = 0) -> Near | None:
        """The index of a bundle; None where it has fewer items, or its scores are no plain products. Raises Unsupported without faiss.

        Source: Malkov & Yashunin 2016, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
        graphs, https://arxiv.org/abs/1603.09320, by inner product. Cost: a minute or two and 4 × (d + 64) bytes an item for a million.
        """
        matrix = bundle.form.item_matrix
        if matrix is None or bundle.n_items < from_items:
            return None
        try:
            import faiss
        except ImportError as error:
            raise Unsupported(MISSING, "Install it: pip install -r requirements-ann.txt.") from error
        import time

        start = time.perf_counter()
        faiss.omp_set_num_threads(1)
        vectors = np.ascontiguousarray(matrix.take(np.arange(matrix.shape[0])), np.float32)
        index = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_EFFORT
        # The most popular first: the upper levels of the graph then lead to what is asked for most.
        order = np.argsort(-bundle.counts[: len(vectors)], kind="stable")
        wrapped = faiss.IndexIDMap(index)
        wrapped.add_with_ids(vectors[order], order.astype(np.int64))
        index.hnsw.efSearch = SEARCH_EFFORT
        made = cls(wrapped, len(vectors), 0.0, k, 0, time.perf_counter() - start)
        queries = _queries(bundle, seed)
        found = [_overlap(made, bundle, query, k) for query in queries]
        return cls(wrapped, len(vectors), float(np.mean(found)) if found else 0.0, k, len(queries), made.seconds)

    def best(self, bundle: Bundle, vector: np.ndarray, k: int, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """(codes, exact scores) of k items that are not gone, best first; None when the index found too few: then search exactly."""
        depth = min(self.n_items, k + len(gone) + SPARE)
        _, codes = self.index.search(np.ascontiguousarray(vector[None], np.float32), depth)
        codes = np.setdiff1d(codes[0][codes[0] >= 0], gone)
        if len(codes) < min(k, self.n_items - len(np.unique(gone))):
            return None
        scores = bundle.form.item_matrix.take(codes) @ np.asarray(vector, np.float32)
        at, best = best_of(scores.astype(np.float32), k)
        return codes[at].astype(np.int32), best

    @property
    def sentence(self) -> str:
        """For /health and the log."""
        found = f"{self.recall:.1%} of the exact best {self.k} ({self.sample} users)"
        return f"{self.n_items:,} items are searched by an index that finds {found}."


def _queries(bundle: Bundle, seed: int) -> list[np.ndarray]:
    """Vectors of users of the bundle, or, without users, of short histories of popular items."""
    from ...portable.history import History

    rng = np.random.default_rng(seed)
    found = []
    codes = bundle.users.codes
    popular = np.argsort(-bundle.counts, kind="stable")[:1000]
    for _ in range(TRIED):
        known = bundle.history(int(rng.choice(codes))) if len(codes) else History.of(rng.choice(popular, 5))
        told = bundle.scale.told(known)
        vector = bundle.form.vector(told) if len(told) else None
        if vector is not None:
            found.append(vector)
    return found


def _overlap(made: Near, bundle: Bundle, vector: np.ndarray, k: int) -> float:
    exact, _ = best_of(bundle.form.item_matrix.dot(vector), k)
    found = made.best(bundle, vector, k, np.empty(0, np.int64))
    return 1.0 if found is None else len(set(found[0].tolist()) & set(exact.tolist())) / max(1, len(exact))
