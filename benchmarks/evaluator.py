"""The evaluator's speed: 6,000 users × 20, 3,000 items, 0.8 million training interactions, one core.

Run: python benchmarks/evaluator.py
Targets: accuracy metrics under 50 ms of CPU; every metric at k = 5, 10, 20 under 1 s.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial

# As in a job with one thread: on a busy machine BLAS's own threads spin and are counted.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import pandas as pd

from recsys_core import registry
from recsys_core.data.dataset import Dataset
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK
from recsys_core.metrics import Catalog, Evaluation, evaluate

N_USERS, N_ITEMS, N_TRAIN, N_TEST, K = 6_000, 3_000, 800_000, 200_000, 20


def make(rng: np.random.Generator, *, categories: bool) -> tuple[TopK, Holdout, Dataset]:
    """Power-law items; a sixth of every list are held-out items, so that hits are as frequent as in practice."""
    weights = 1.0 / np.arange(1, N_ITEMS + 1) ** 0.8
    pairs = np.unique(rng.integers(0, N_USERS, 2 * N_TRAIN) * N_ITEMS + rng.choice(N_ITEMS, 2 * N_TRAIN, p=weights / weights.sum()))
    pairs = rng.permutation(pairs)[: N_TRAIN + N_TEST]
    table = None
    if categories:
        names = np.array([f"genre{i}" for i in range(18)])
        picks = names[rng.integers(0, 18, (N_ITEMS, 3))]
        table = pd.DataFrame({"genres": ["|".join(dict.fromkeys(row)) for row in picks]})
    users, items = IdMap(range(N_USERS)), IdMap(range(N_ITEMS))
    user, item = np.divmod(pairs, N_ITEMS)
    data = Dataset(users, items, user, item, np.ones(len(pairs), np.float32), item_table=table)
    in_test = np.arange(len(pairs)) >= len(pairs) - len(pairs) // 5
    train, test = data.subset(~in_test), Holdout(data.subset(in_test))
    lists = rng.random((len(test.users), N_ITEMS), dtype=np.float32).argpartition(K, axis=1)[:, :K].astype(np.int32)
    first = test.relevant.indices[test.relevant.indptr[:-1]]
    repeated = (lists == first[:, None]).any(axis=1)
    lists[~repeated, rng.integers(0, K)] = first[~repeated]
    scores = np.tile(np.linspace(1, 0, K, dtype=np.float32), (len(lists), 1))
    return TopK(test.users, lists, scores), test, train


def timed(repeats: int, work: Callable[[], object]) -> dict[str, float]:
    """The best of some repeats."""
    best = [np.inf, np.inf]
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        best = [min(best[0], time.process_time() - cpu), min(best[1], time.perf_counter() - wall)]
    return {"cpu_ms": round(1e3 * best[0], 1), "wall_ms": round(1e3 * best[1], 1)}


def measured(top: TopK, holdout: Holdout, train: Dataset) -> dict[str, dict[str, float]]:
    """The catalogue is made anew each time: its embeddings and ranks are part of the price."""

    def run(ks: list[int], keys: list[str] | None = None) -> Evaluation:
        return evaluate(top, holdout, Catalog.from_dataset(train), ks, metrics=keys)

    _ = holdout.relevant, train.matrix("seen"), train.matrix("binary"), train.item_counts  # a run has these already
    accuracy = [key for key, metric in registry.all_of("metric").items() if metric.kind == "accuracy"]
    return {
        f"accuracy metrics, k = {K}": timed(5, partial(run, [K], accuracy)),
        "accuracy metrics, k = 5, 10, 20": timed(5, partial(run, [5, 10, K], accuracy)),
        "every metric, k = 5, 10, 20": timed(3, partial(run, [5, 10, K])),
        "bootstrap intervals of every per-user metric, 1,000 draws": timed(3, run([5, 10, K]).intervals),
    }


def main() -> None:
    figures: dict[str, object] = {"users": N_USERS, "items": N_ITEMS, "train": N_TRAIN}
    for name, categories in (("diversity by categories", True), ("diversity by co-occurrence", False)):
        figures[name] = measured(*make(np.random.default_rng(0), categories=categories))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
