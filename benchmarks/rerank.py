"""Re-ranking 6,000 users × 200 candidates -> 20, one thread: every method, and pyversity's MMR and DPP beside ours.

    python benchmarks/rerank.py [--users 6000] [--items 4000] [--depth 200] [--k 20] [--threads 1] [--repeats 3]

Items are alike by 64 numbers (embeddings), by 19 genres, or by 5,000 tags, of which each has some. CPU seconds of the whole
call, vectors and tastes ready; the best of the repeats. Memory: the most this process held during the call above what it held
before, sampled every millisecond. pyversity works on one list at a time, with the same vectors and scores.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("users", 6000), ("items", 4000), ("depth", 200), ("k", 20), ("threads", 1), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(options.threads))

    import numpy as np
    from pyversity import Strategy, diversify

    from recsys_core import registry
    from recsys_core.rerank._base import scaled

    print("| items alike by | method | CPU seconds | MB |\n|---|---|---|---|")
    for name, columns in (("64 numbers", 0), ("19 genres", 19), ("5,000 tags", 5000)):
        shelf, candidates = made(options.users, options.items, options.depth, columns)
        histories = shelf.histories(candidates.users)
        for key in registry.keys("reranker"):
            if key == "rules" and not columns:
                continue
            cls = registry.get("reranker", key)
            method = cls(max_per_category=3) if key == "rules" else cls()
            method.rerank(candidates.take(np.arange(100)), options.k, shelf, histories.take(np.arange(100)))
            seconds, megabytes = measured(partial(method.rerank, candidates, options.k, shelf, histories), options.repeats)
            print(f"| {name} | `{key}` | {seconds:.2f} | {megabytes:.0f} |", flush=True)
        if columns > 100:
            continue
        vectors = shelf.traits if not columns else shelf.traits.toarray()
        relevance = scaled(candidates.scores, candidates.items >= 0)
        for label, strategy in (("mmr", Strategy.MMR), ("dpp", Strategy.DPP)):
            one = partial(diversify, k=options.k, strategy=strategy, diversity=0.3)
            seconds, megabytes = measured(partial(one_by_one, one, vectors, candidates.items, relevance), 1)
            print(f"| {name} | pyversity {label} | {seconds:.2f} | {megabytes:.0f} |", flush=True)


def made(n_users: int, n_items: int, depth: int, columns: int) -> tuple[Any, Any]:
    """(shelf, candidates): users of 40 items by a power law, lists by chance."""
    import numpy as np
    import pandas as pd

    from recsys_core.data.dataset import Dataset
    from recsys_core.data.ids import IdMap
    from recsys_core.data.topk import TopK
    from recsys_core.rerank._base import Shelf

    rng = np.random.default_rng(0)
    power = 1 / np.arange(1, n_items + 1) ** 0.8
    item = rng.choice(n_items, n_users * 40, p=power / power.sum()).astype(np.int32)
    ids = IdMap(range(n_users)), IdMap(range(n_items))
    table = None
    if columns:
        each = rng.integers(1, 4, n_items) if columns < 100 else rng.integers(2, 12, n_items)
        table = pd.DataFrame({"genres": ["|".join(f"g{g}" for g in set(rng.integers(0, columns, n).tolist())) for n in each]})
    shelf = Shelf(Dataset(*ids, np.repeat(np.arange(n_users), 40), item, np.ones(len(item)), item_table=table))
    items = np.argpartition(rng.random((n_users, n_items), dtype=np.float32), depth, axis=1)[:, :depth].astype(np.int32)
    scores = -np.sort(-rng.standard_normal((n_users, depth), dtype=np.float32), axis=1)
    return shelf, TopK(np.arange(n_users, dtype=np.int32), items, scores)


def one_by_one(shape: Callable[..., Any], vectors: Any, items: Any, relevance: Any) -> None:
    """Every list by itself, as the other library has it."""
    for row, own in enumerate(items):
        shape(vectors[own], relevance[row])


def measured(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """(fewest CPU seconds, most megabytes above the start)."""
    import psutil

    process, best, most = psutil.Process(), float("inf"), 0.0
    for _ in range(repeats):
        done, before, highest = threading.Event(), process.memory_info().rss, [0]

        def watch(done: threading.Event = done, highest: list[int] = highest) -> None:
            while not done.wait(0.001):
                highest[0] = max(highest[0], process.memory_info().rss)

        thread = threading.Thread(target=watch)
        thread.start()
        start = time.thread_time()  # of this thread: the watcher does not count
        work()
        best = min(best, time.thread_time() - start)
        done.set()
        thread.join()
        most = max(most, (highest[0] - before) / 1e6)
    return best, most


if __name__ == "__main__":
    main()
