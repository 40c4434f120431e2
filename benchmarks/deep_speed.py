"""CPU seconds an epoch of the deep models on a synthetic set of 1 million interactions (6,000 users x 3,700 items).

Run: python -m benchmarks.deep_speed [--models mult_vae,neumf] [--epochs 3] [--threads 1]
Prints one JSON line a model: CPU seconds of each epoch (all threads added), samples a second, peak memory,
and the seconds to score 1,000 users.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from recsys_core import registry
from recsys_core.context import Progress, RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.ids import IdMap


def synthetic(n_users: int = 6_000, n_items: int = 3_700, n: int = 1_000_000, seed: int = 0) -> Dataset:
    """n distinct (user, item) pairs: items by a power law, users by a log-normal number of interactions."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(0, 0.9, n_users)
    popularity = np.arange(1, n_items + 1) ** -0.7
    pairs = np.empty(0, np.int64)
    while len(pairs) < n:
        user = rng.choice(n_users, n, p=share / share.sum())
        item = rng.choice(n_items, n, p=popularity / popularity.sum())
        pairs = np.unique(np.concatenate([pairs, user * n_items + item]))
    pairs = rng.permutation(pairs)[:n]
    ids = [IdMap(np.arange(size).astype(str)) for size in (n_users, n_items)]
    return Dataset(*ids, pairs // n_items, pairs % n_items, np.ones(n, np.float32))


def measure(key: str, data: Dataset, epochs: int, threads: int) -> dict:
    """Fit for a few epochs and read the clock at every epoch's end."""
    ticks = [time.process_time()]
    speed: list[float] = []

    def tick(progress: Progress) -> None:
        if "loss" in progress.metrics:
            ticks.append(time.process_time())
            speed.append(progress.metrics["samples_per_second"])

    model = registry.get("model", key)(epochs=epochs, patience=0)
    model.fit(data, RunContext(threads=threads, on_progress=tick))
    start = time.process_time()
    model.recommend(np.arange(1000), 20)
    return {
        "model": key,
        "params": model.resolved.model_dump(),
        "epoch_cpu_seconds": [round(x, 2) for x in np.diff(ticks)],  # the first includes building the network
        "samples_per_second": round(float(np.median(speed))),
        "recommend_1000_users_cpu_seconds": round(time.process_time() - start, 2),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="mult_vae,neumf")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    data = synthetic()
    for key in arguments.models.split(","):
        print(json.dumps(measure(key, data, arguments.epochs, arguments.threads)), flush=True)


if __name__ == "__main__":
    main()
