"""Top-k for all users from the same factors, users and seen items: ours against implicit's own `recommend`.

    python benchmarks/recommend_all.py [--users 10000] [--items 20000] [--factors 64] [--k 20] [--threads 1] [--repeats 5]

Both run in this process with the same number of threads, taking turns, so that a busy machine slows both.
The ratio is of medians; below 1 we are faster. The lists are compared as well: equal up to near ties.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("users", 10_000),
        ("items", 20_000),
        ("factors", 64),
        ("k", 20),
        ("threads", 1),
        ("repeats", 5),
        ("history", 60),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    # Before numpy and implicit load their BLAS: implicit's threads and BLAS's would fight each other.
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "OPENBLAS_NUM_THREADS": "1"}

    import numpy as np
    from implicit.cpu.als import AlternatingLeastSquares

    from recsys_core import registry
    from recsys_core.data.dataset import Dataset
    from recsys_core.data.ids import IdMap

    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, options.items + 1) ** 0.8
    drawn = rng.choice(options.items, options.users * options.history, p=popularity / popularity.sum()).astype(np.int32)
    user = np.repeat(np.arange(options.users, dtype=np.int32), options.history)
    train = Dataset(IdMap(range(options.users)), IdMap(range(options.items)), user, drawn, np.ones(len(user), np.float32))
    seen = train.matrix("seen")

    theirs = AlternatingLeastSquares(factors=options.factors, num_threads=options.threads)
    theirs.user_factors = rng.standard_normal((options.users, options.factors), dtype=np.float32)
    theirs.item_factors = rng.standard_normal((options.items, options.factors), dtype=np.float32)
    ours = registry.get("model", "als")(factors=options.factors)
    ours.train, ours.resolved = train, ours.resolve(train.stats)
    ours._learned(theirs.user_factors, theirs.item_factors)

    everybody = np.arange(options.users)
    contestants = {
        "recsys_core": lambda: ours.recommend(everybody, options.k).items,
        "implicit": lambda: theirs.recommend(everybody, seen, N=options.k)[0],
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    lists = {}
    for turn in range(options.repeats + 1):
        for name, run in contestants.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            lists[name] = run()
            if turn:  # the first turn warms caches
                seconds[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - cpu_start)
    for name in contestants:
        wall, work = statistics.median(seconds[name]), statistics.median(cpu[name])
        print(f"{name:12} {wall:6.3f} s (best {min(seconds[name]):.3f}), {work:6.3f} CPU-s, {options.users / wall:9,.0f} users a second")
    ratio = statistics.median(seconds["recsys_core"]) / statistics.median(seconds["implicit"])
    work = statistics.median(cpu["recsys_core"]) / statistics.median(cpu["implicit"])
    same = (lists["recsys_core"] == lists["implicit"]).mean()
    print(f"time {ratio:.2f} x implicit, CPU {work:.2f} x; {same:.3%} of the places equal")


if __name__ == "__main__":
    main()
