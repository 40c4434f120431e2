"""What an index buys in a very large catalogue: exact search against an inverted file, time and recall.

    python -m benchmarks.ann_recall [--items 500000] [--factors 64] [--users 200]

Made-up item vectors in tastes of uneven size, as factor models give them (length grows with popularity); users are sums of a few items.
One thread; under a minute of CPU and 0.6 GB for 500,000 items.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace

import numpy as np

from recsys_core.portable.history import History
from recsys_core.portable.lists import best_of
from recsys_core.portable.matrix import Dense
from recsys_core.serving.live.near import Near


def catalogue(n_items: int, factors: int) -> SimpleNamespace:
    """What `Near` reads of a bundle."""
    rng = np.random.default_rng(0)
    counts = np.sort(rng.pareto(1.2, n_items))[::-1].astype(np.float32) * 20 + 1
    tastes = rng.standard_normal((200, factors)).astype(np.float32)
    vectors = tastes[rng.integers(0, 200, n_items)] + 0.7 * rng.standard_normal((n_items, factors)).astype(np.float32)
    vectors *= (np.log1p(counts) / np.linalg.norm(vectors, axis=1))[:, None]
    matrix = Dense(np.ascontiguousarray(vectors, np.float32))
    form = SimpleNamespace(item_matrix=matrix, vector=lambda history: vectors[history.items].mean(axis=0))
    users = SimpleNamespace(codes=np.arange(1000))
    chosen = rng.integers(0, n_items // 10, (1000, 20))
    history = lambda user: History.of(chosen[user])  # noqa: E731
    return SimpleNamespace(form=form, n_items=n_items, counts=counts, users=users, history=history, scale=SimpleNamespace(told=lambda h: h))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--items", type=int, default=500_000)
    ask.add_argument("--factors", type=int, default=64)
    ask.add_argument("--users", type=int, default=200)
    asked = ask.parse_args()
    bundle = catalogue(asked.items, asked.factors)
    start = time.process_time()
    near = Near.build(bundle, from_items=1)
    print(f"{asked.items:,} items x {asked.factors}: built in {time.process_time() - start:.0f} CPU seconds")
    vectors = [bundle.form.vector(bundle.history(user)) for user in range(asked.users)]
    gone = [bundle.history(user).items for user in range(asked.users)]
    took = {}
    for name, search in (
        ("exact", lambda v, g: best_of(bundle.form.item_matrix.dot(v), 20)),
        ("index", lambda v, g: near.best(bundle, v, 20, g)),
    ):
        begin = time.process_time()
        for vector, seen in zip(vectors, gone, strict=True):
            search(vector, seen)
        took[name] = 1000 * (time.process_time() - begin) / asked.users
    print(f"{'search':<24}{'CPU-ms a list':>14}{'recall@20':>11}")
    print(f"{'exact':<24}{took['exact']:>14.2f}{1:>11.3f}")
    print(f"{f'index, {near.index.nprobe} of {near.index.nlist} lists':<24}{took['index']:>14.2f}{near.recall:>11.3f}")
    print(near.sentence)


if __name__ == "__main__":
    main()
