"""CPU seconds of the high-level features: learning them from a training part, and working them out for one batch of histories.

    python benchmarks/derived.py [--users 20000] [--items 5000] [--per-user 50] [--batch 256] [--shown 100] [--repeats 20]

Learning is timed once, on users × per-user interactions, with times, ratings and an item table of two columns of categories. A batch
is what a model in training asks for again and again; the smallest of the repeats counts.
"""

from __future__ import annotations

import argparse
import os
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("users", 20_000), ("items", 5_000), ("per-user", 50), ("batch", 256), ("shown", 100), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy loads its BLAS

    import numpy as np

    from recsys_core import registry
    from recsys_core.data.features import encode_table
    from recsys_core.data.features.derived_set import DerivedSet

    train = made_up(options.users, options.items, options.per_user)
    items = encode_table(train.item_table)
    batch = made_up(options.batch, options.items, options.shown).histories()
    train.matrix("binary"), train.histories()  # every model builds these anyway

    def fit(keys: list[str] | None, side: str) -> tuple[DerivedSet, float]:
        start = time.process_time()
        out = DerivedSet.fit(train, keys, items, np.random.default_rng(0), side)
        return out, time.process_time() - start

    def of_batch(features: DerivedSet) -> float:
        taken = []
        for _ in range(options.repeats):
            start = time.process_time()
            features.of_histories(batch)
            taken.append(time.process_time() - start)
        return 1000 * min(taken)

    print(f"{len(train):,} interactions, {options.users:,} users, {options.items:,} items; batch of {options.batch} × {options.shown}")
    print(f"{'feature':<22}{'learning, s':>12}{'batch, ms':>12}")
    rows = [(key, [key], one.side) for key, one in registry.all_of("derived").items()]
    for name, keys, side in sorted(rows, key=lambda row: row[2]) + [
        ("all defaults, items", None, "item"),
        ("all defaults, users", None, "user"),
    ]:
        features, seconds = fit(keys, side)
        print(f"{name:<22}{seconds:>12.2f}" + (f"{of_batch(features):>12.2f}" if side == "user" else ""))


def made_up(n_users: int, n_items: int, per_user: int, seed: int = 0):
    """Popular and rare items of 20 genres and 100 makers, three quarters of a user's choices in three genres."""
    import numpy as np
    import pandas as pd

    from recsys_core.data.dataset import Dataset
    from recsys_core.data.ids import IdMap

    rng = np.random.default_rng(seed)
    n = n_users * per_user
    user = np.repeat(np.arange(n_users), per_user)
    item = np.minimum((rng.pareto(1.0, n) * n_items / 50).astype(np.int64), n_items - 1)
    own = rng.integers(0, 20, (n_users, 3))
    wanted = own[user, rng.integers(0, 3, n)]
    item = np.where(rng.random(n) < 0.75, np.minimum(item - item % 20 + wanted, n_items - 1), item)
    genre = np.arange(n_items) % 20
    table = pd.DataFrame({"genre": [f"g{a}|g{b}" for a, b in zip(genre, rng.integers(0, 20, n_items), strict=True)]})
    table["maker"] = [f"m{a}" for a in rng.integers(0, 100, n_items)]
    ids = [IdMap(np.array([f"{side}{code:07d}" for code in range(size)], dtype=object)) for side, size in (("u", n_users), ("i", n_items))]
    value, when = rng.integers(1, 6, n).astype(np.float32), rng.integers(0, 300 * 86_400, n)
    return Dataset(*ids, user, item, value, when, "explicit", 3.0, item_table=table)


if __name__ == "__main__":
    main()
