"""Seconds and memory of a pass of M6-Rec over a million interactions with ten fields.

    python benchmarks/m6_rec_speed.py [--threads 2] [--passes 2] [--levels 1]

20,000 users, 10,000 items by a power law; six item columns (two categories, one list, two numbers, one date) and four user columns.
Prints the CPU and wall seconds of a pass, of reading the tables, and the peak memory beside what `cost` says.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.ids import IdMap
from recsys_core.models.features.m6_rec import M6Rec

USERS, ITEMS, INTERACTIONS = 20_000, 10_000, 1_000_000


def made(seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, ITEMS + 1) ** 0.8
    user = np.concatenate([np.arange(USERS), rng.integers(0, USERS, INTERACTIONS - USERS)])
    item = rng.choice(ITEMS, INTERACTIONS, p=popularity / popularity.sum())
    genres = np.array([f"genre {n}" for n in range(20)])
    items = {
        "maker": [f"maker {n}" for n in rng.integers(0, 500, ITEMS)],
        "kind": [f"kind {n}" for n in rng.integers(0, 30, ITEMS)],
        "genres": ["|".join(row) for row in genres[rng.integers(0, 20, (ITEMS, 3))]],
        "price": rng.lognormal(3, 1, ITEMS).round(2),
        "length": rng.normal(100, 20, ITEMS).round(1),
        "released": pd.Timestamp("2000-01-01") + pd.to_timedelta(rng.integers(0, 8000, ITEMS), unit="D"),
    }
    users = {
        "age": rng.integers(15, 80, USERS),
        "country": [f"country {n}" for n in rng.integers(0, 40, USERS)],
        "plan": [f"plan {n}" for n in rng.integers(0, 5, USERS)],
        "spent": rng.lognormal(2, 1, USERS).round(2),
    }
    ids = [IdMap([f"{side}{n}" for n in range(size)]) for side, size in (("u", USERS), ("i", ITEMS))]
    times = rng.integers(1_500_000_000, 1_700_000_000, INTERACTIONS)
    ones = np.ones(INTERACTIONS)
    return Dataset(*ids, user, item, ones, times, user_table=pd.DataFrame(users), item_table=pd.DataFrame(items).astype({"released": str}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--levels", type=int, default=1)
    options = parser.parse_args()
    data = made()
    data.matrix("binary")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time(), time.perf_counter()
    model = M6Rec(levels=options.levels, epochs=options.passes, patience=0)
    model.fit(data, RunContext(seed=0, threads=options.threads))
    total = time.process_time() - start[0], time.perf_counter() - start[1]
    fields = len(model.inputs.items.fields) + len(model.inputs.user_fields)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"{len(data):,} interactions, {fields} fields, {options.levels} levels, {options.threads} threads:")
    print(f"reading the tables and {options.passes} passes: {total[0]:.1f} CPU s, {total[1]:.1f} s")
    print(f"peak beyond the data {peak / 2**20:,.0f} MiB; cost() says {model.cost(data.stats).memory_bytes / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
