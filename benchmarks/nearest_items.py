"""When does an index of nearest neighbours pay? The best 10 of N item vectors × 64: all of them, against faiss IVF and HNSW.

    python benchmarks/nearest_items.py [--items 100000 400000] [--factors 64]

Vectors: a mixture of 500 tastes, items around their tastes, users between three of them, which is easier for an index than noise and harder
than one taste each. Recall: how many of the exact ten the index finds. One thread, one user at a time, as a service asks.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from recsys_core.portable.bundle import best_of

K, USERS, TASTES = 10, 200, 500


def vectors(n_items: int, factors: int) -> tuple[np.ndarray, np.ndarray]:
    """(items (N, d), users (USERS, d)), float32. Popular items are longer, as ALS makes them."""
    rng = np.random.default_rng(0)
    tastes = rng.normal(size=(TASTES, factors)).astype(np.float32)
    items = tastes[rng.integers(TASTES, size=n_items)] + 0.7 * rng.normal(size=(n_items, factors)).astype(np.float32)
    items *= rng.lognormal(0, 0.3, (n_items, 1)).astype(np.float32)
    users = tastes[rng.integers(TASTES, size=(USERS, 3))].mean(axis=1) + 0.3 * rng.normal(size=(USERS, factors)).astype(np.float32)
    return items, users.astype(np.float32)


def timed(search, users: np.ndarray) -> tuple[list[np.ndarray], float]:
    """(codes by user, CPU ms a user)."""
    search(users[0])
    began = time.process_time()
    found = [search(user) for user in users]
    return found, 1000 * (time.process_time() - began) / len(users)


def main() -> None:
    import faiss

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[20_000, 100_000, 400_000])
    parser.add_argument("--factors", type=int, default=64)
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    print(f"{'items':>9}  {'search':<22} {'ms a list':>9} {'recall':>7} {'build s':>8} {'MB':>6}")
    for n_items in given.items:
        items, users = vectors(n_items, given.factors)
        exact, took = timed(lambda user, items=items: best_of(items @ user, K)[0], users)
        print(f"{n_items:>9,}  {'all (exact)':<22} {took:>9.2f} {1:>7.3f} {'':>8} {items.nbytes / 1e6:>6.0f}")
        lists = int(4 * np.sqrt(n_items))
        for name, width in ((f"IVF{lists},Flat", (8, 32, 128)), ("HNSW32", (64, 256))):
            if name.startswith("HNSW") and n_items > 100_000:
                continue  # minutes to build on one thread
            began = time.process_time()
            index = faiss.index_factory(given.factors, name, faiss.METRIC_INNER_PRODUCT)
            if not index.is_trained:
                index.train(items[:: max(1, n_items // (40 * lists))])
            index.add(items)
            built = time.process_time() - began
            size = faiss.serialize_index(index).nbytes / 1e6
            for breadth in width:
                if name.startswith("IVF"):
                    index.nprobe = breadth
                else:
                    index.hnsw.efSearch = breadth
                found, took = timed(lambda user, index=index: index.search(user[None], K)[1][0], users)
                recall = np.mean([len(set(a.tolist()) & set(b.tolist())) / K for a, b in zip(exact, found, strict=True)])
                label = f"{name.partition(',')[0]} at {breadth}"
                print(f"{n_items:>9,}  {label:<22} {took:>9.2f} {recall:>7.3f} {built:>8.1f} {size:>6.0f}")


if __name__ == "__main__":
    main()
