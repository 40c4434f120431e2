"""M6-Rec where the figures are known: known items of the fixed MovieLens 100K pair, and items held out entirely.

    python benchmarks/m6_rec.py [--parts warm,new] [--seeds 42,1,2] [--data ../shared/data]

warm: as `accuracy.py` (full ranking, k = 20, fitted beside a validation cut of the training file, then again on all of it), with the
item and user tables of the folder, and without. new: a fifth of the items of ml-100k (training and test files together) and of
ml-latest-small is held out entirely (`cold_items`), lists are made of these alone, models stop on new items of the training part
and are fitted again on all of it. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.metrics._quick import ndcg_at
from recsys_core.splitting.own_test import OwnTest, own_test

K = 20
WARM: list[tuple[str, dict[str, Any], bool]] = [  # model, settings, with tables
    ("m6_rec", {}, True),
    ("m6_rec", {"text": False}, True),
    ("m6_rec", {"features": False}, True),
]
NEW: list[tuple[str, dict[str, Any]]] = [("m6_rec", {}), ("m6_rec", {"levels": 1}), ("content_knn", {}), ("two_tower", {})]


def ml_100k(folder: Path) -> tuple[Dataset, pd.DataFrame]:
    """(training file with its tables, test file)."""
    train, test = (pd.read_csv(folder / "ml-100k" / f"{name}.csv.gz", dtype={"user": str, "item": str}) for name in ("train", "test"))
    data = from_frame(train, value="rating", time="timestamp", feedback="explicit", name="ml-100k")
    return with_tables(data, folder), test


def with_tables(data: Dataset, folder: Path) -> Dataset:
    items, users = (pd.read_csv(folder / "ml-100k" / f"{side}s.csv", dtype={side: str}).set_index(side) for side in ("item", "user"))
    item_table = items.reindex(data.items.ids).reset_index(drop=True)
    return replace(data, item_table=item_table, user_table=users.reindex(data.users.ids).reset_index(drop=True))


def whole_100k(folder: Path) -> Dataset:
    frame = pd.read_csv(folder / "ml-100k" / "interactions.csv.gz", dtype={"user": str, "item": str})
    return with_tables(from_frame(frame, value="rating", time="timestamp", feedback="explicit", name="ml-100k"), folder)


def latest_small(folder: Path) -> Dataset:
    named = {"userId": "user", "movieId": "item"}
    frame = pd.read_csv(folder / "ml-latest-small" / "ratings.csv", dtype={"userId": str, "movieId": str}).rename(columns=named)
    data = from_frame(frame, value="rating", time="timestamp", feedback="explicit", name="ml-latest-small")
    items = pd.read_csv(folder / "ml-latest-small" / "movies.csv", dtype={"movieId": str}).set_index("movieId")
    return replace(data, item_table=items.reindex(data.items.ids).reset_index(drop=True))


def ndcg(items: np.ndarray, test: Holdout) -> float:
    return float(ndcg_at(items, test.relevant, K).mean())


def fitted_twice(key: str, values: dict[str, Any], fit: Dataset, validation: Holdout, train: Dataset, ctx: RunContext) -> Any:
    """Beside validation, then on everything, as the app does."""
    first = registry.get("model", key)(**values)
    if not first.wants_validation():
        return first.fit(train, ctx)
    return first.fit(fit, ctx, validation=validation).for_refit().fit(train, ctx)


def warm(folder: Path, seeds: list[int]) -> Iterator[tuple[str, list[float], float]]:
    data, frame = ml_100k(folder)
    split = own_test(data, frame)
    for key, values, tables in WARM:
        found, start = [], time.process_time()
        for seed in seeds:
            ctx = RunContext(seed=seed, threads=1)
            train = split.train if tables else replace(split.train, item_table=None, user_table=None)
            model = fitted_twice(key, values, *OwnTest().validation(train, ctx), train, ctx)
            found.append(ndcg(model.recommend_holdout(split.test, K).items, split.test))
        yield f"`{key}` {settings(values)}", found, (time.process_time() - start) / len(seeds)


def new(read: Callable[[Path], Dataset], folder: Path, seeds: list[int]) -> Iterator[tuple[str, list[float], float]]:
    data, rule, chance = read(folder), registry.get("splitter", "cold_items")(), []
    found: dict[int, list[float]] = {n: [] for n in range(len(NEW))}
    seconds = dict.fromkeys(found, 0.0)
    for seed in seeds:
        ctx = RunContext(seed=seed, threads=1)
        split = next(iter(rule.splits(data, ctx)))
        test, (fit, validation) = split.parts["new_items"], rule.validation(split.train, ctx)
        rng = np.random.default_rng(seed)
        chance.append(ndcg(np.stack([rng.permutation(test.candidates)[:K] for _ in test.users]), test))
        for n, (key, values) in enumerate(NEW):
            start = time.process_time()
            model = fitted_twice(key, values, fit, validation, split.train, ctx)
            found[n].append(ndcg(model.recommend_holdout(test, K).items, test))
            seconds[n] += time.process_time() - start
            print(f"{data.name} seed {seed} {key} {settings(values)} {found[n][-1]:.4f}", flush=True)
    yield "random", chance, 0.0
    for n, (key, values) in enumerate(NEW):
        yield f"`{key}` {settings(values)}", found[n], seconds[n] / len(seeds)


def settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "defaults"


def table(title: str, rows: Iterator[tuple[str, list[float], float]], seeds: list[int]) -> None:
    lines = [f"\n**{title}**\n", f"| | NDCG@20 | seeds {', '.join(map(str, seeds))} | CPU seconds |", "|---|---|---|---|"]
    for name, values, seconds in rows:
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        lines.append(f"| {name} | {np.mean(values):.4f}{spread} | {', '.join(f'{v:.4f}' for v in values)} | {seconds:.1f} |")
        print(lines[-1], flush=True)
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="warm,new")
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    options = parser.parse_args()
    seeds, parts = [int(seed) for seed in options.seeds.split(",")], options.parts.split(",")
    if "warm" in parts:
        table("Known items, fixed ml-100k pair", warm(options.data, seeds), seeds)
    if "new" in parts:
        for name, read in (("ml-100k", whole_100k), ("ml-latest-small", latest_small)):
            table(f"New items, {name}", new(read, options.data, seeds), seeds)


if __name__ == "__main__":
    main()
