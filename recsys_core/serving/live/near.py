"""Lists out of very large catalogues: an index of item vectors instead of a product with all of them.

Only where it pays: exact search over 300,000 items of 64 numbers takes some 10 ms of one core. Below that nothing is built and every
list is exact.
Needs faiss, an extra: `pip install -r requirements-ann.txt`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import Unsupported
from ...portable.bundle import Bundle
from ...portable.lists import best_of
from ._asked import Asked

FROM_ITEMS = 300_000
LISTS, TAUGHT_BY = 4.0, 40  # lists: this times √items; vectors each list is placed by
WIDTHS, WANTED = (32, 64, 128, 256, 512, 1024), 0.98  # lists read for an answer: the fewest that find this share of the exact best
SPARE, TRIED = 50, 200  # items fetched beyond those asked for; users: one half chooses the width, the other measures the recall
MOST_FETCHED = 2_000  # of one search; who has had more is served exactly
MISSING = "An index for nearest neighbours needs faiss."


@dataclass(frozen=True, eq=False)
class Near:
    """recall: mean share of the exact best `k` that the index finds too, on `sample` users who had no say in how widely it searches.
    seconds: of CPU it took to build."""

    index: Any
    n_items: int
    recall: float
    k: int
    sample: int
    seconds: float

    @classmethod
    def build(cls, bundle: Bundle, *, from_items: int = FROM_ITEMS, k: int = 20, seed: int = 0) -> Near | None:
        """The index of a bundle; None where it has fewer items, or its scores are no plain products. Raises Unsupported without faiss.

        Source: Jégou, Douze & Schmid 2011, Product quantization for nearest neighbor search, section 4 (inverted file; here with whole
        vectors), https://doi.org/10.1109/TPAMI.2010.57; largest products as smallest distances by one more coordinate, √(longest² - |x|²):
        Bachrach et al. 2014, https://doi.org/10.1145/2645710.2645741 (without it the long vectors of popular items crowd into few lists).
        Differs: how many lists are read is found on users' vectors. Not a graph (HNSW), which takes minutes to build on one thread.
        Cost: to build about N^1.5 · d operations, 4 × (d + 3) bytes an item beside the bundle; an answer reads width / lists of them.
        """
        matrix = bundle.form.item_matrix
        if matrix is None or bundle.n_items < from_items:
            return None
        try:
            import faiss
        except ImportError as error:
            raise Unsupported(MISSING, "Install it: pip install -r requirements-ann.txt.") from error
        import time

        start = time.process_time()
        faiss.omp_set_num_threads(1)
        vectors = _on_a_sphere(matrix.take(slice(None)))
        n_lists = max(1, min(int(LISTS * np.sqrt(len(vectors))), len(vectors) // TAUGHT_BY))
        index = faiss.index_factory(vectors.shape[1], f"IVF{n_lists},Flat", faiss.METRIC_L2)
        index.train(vectors[:: max(1, len(vectors) // (TAUGHT_BY * n_lists))])
        index.add(vectors)
        queries = _queries(bundle, seed)
        exact = [best_of(matrix.dot(query), k)[0] for query in queries]
        made = cls(index, len(vectors), 0.0, k, 0, 0.0)
        for width in WIDTHS:
            index.nprobe = min(width, n_lists)
            if made._found(queries[::2], exact[::2]) >= WANTED or width >= n_lists:
                break
        measured = made._found(queries[1::2], exact[1::2])
        return replace(made, recall=measured, sample=len(queries[1::2]), seconds=time.process_time() - start)

    def _found(self, queries: list[np.ndarray], exact: list[np.ndarray]) -> float:
        """Mean share of the exact best that the index finds; 0 without any."""
        if not queries:
            return 0.0
        _, codes = self.index.search(_asked(np.stack(queries)), self.k)
        return float(np.mean([np.isin(wanted, found).mean() for wanted, found in zip(exact, codes, strict=True)]))

    def best(self, bundle: Bundle, vector: np.ndarray, k: int, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """(codes, exact scores) of k items that are not gone, best first; None when the index found too few, or so much is gone that it
        saves nothing: then search exactly."""
        depth = min(self.n_items, k + len(gone) + SPARE)
        if depth > MOST_FETCHED:
            return None
        _, codes = self.index.search(_asked(vector[None]), depth)
        codes = np.setdiff1d(codes[0][codes[0] >= 0], gone)
        if len(codes) < min(k, self.n_items - len(np.unique(gone))):
            return None
        scores = bundle.form.item_matrix.take(codes) @ np.asarray(vector, np.float32)
        at, best = best_of(scores.astype(np.float32), k)
        return codes[at].astype(np.int32), best

    def answer(self, bundle: Bundle, asked: Asked, k: int) -> tuple[np.ndarray, np.ndarray] | None:
        """(codes, scores) for what was asked; None where every item has to be looked at: nothing to fold in, or items that came later."""
        told = bundle.scale.told(asked.known, asked.trained)
        vector = bundle.form.vector(told) if asked.code < 0 and len(told) and len(bundle.items) == bundle.n_items else None
        return None if vector is None else self.best(bundle, vector, k, np.array([*asked.known.items, *asked.skips], np.int64))

    @property
    def sentence(self) -> str:
        """For /health and the log."""
        found = f"{self.recall:.1%} of the exact best {self.k} ({self.sample} users)"
        return f"{self.n_items:,} items are searched by an index that finds {found}."


def near_of(bundle: Bundle) -> Near | None:
    """The index a server uses: None where the catalogue is small enough, and also where faiss is missing: every list is then exact."""
    try:
        return Near.build(bundle)
    except Unsupported:
        return None


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


def _on_a_sphere(vectors: np.ndarray) -> np.ndarray:
    """float32 (I, d + 1): all as long as the longest, so that the nearest of a vector is the one of the largest product with it."""
    squares = np.square(vectors, dtype=np.float64).sum(axis=1)
    more = np.sqrt(squares.max(initial=0) - squares)
    return np.ascontiguousarray(np.concatenate([vectors, more[:, None]], axis=1, dtype=np.float32, casting="same_kind"))


def _asked(vectors: np.ndarray) -> np.ndarray:
    """float32 (n, d + 1): users' vectors, 0 in the coordinate that was added."""
    return np.ascontiguousarray(np.pad(np.asarray(vectors, np.float32), ((0, 0), (0, 1))))
