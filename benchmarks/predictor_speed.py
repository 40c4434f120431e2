"""How long a live answer takes: one list, and from a click to the changed list, on one thread.

    python -m benchmarks.predictor_speed [--models ease,als,sasrec,mult_vae] [--lists 1000] [--json figures.json]

MovieLens 100K, models with default settings (networks: `--epochs` passes, which changes nothing of the time), as a float32 bundle and
as int8. A list: `Predictor.recommend` of a training user, every time another. A click: `feedback` and then `recommend` of the same user,
an event log on disk included. Wide: 10,000 items of 64 factors, folded in (ALS). Milliseconds by the clock, so run it on a quiet machine;
CPU milliseconds beside them are what a busy one does not spoil. Bars: 99 of 100 lists in 5 ms, 2 ms for the wide one, 20 ms from click
to list.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.portable.bundle import Bundle
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.live.event_log import EventLog
from recsys_core.serving.live.predictor import Predictor

DATA = Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data"))
PASSES = ("epochs",)


def movies() -> Dataset:
    rows = pd.read_csv(DATA / "ml-100k" / "interactions.csv.gz").set_axis(["user", "item", "value", "time"], axis=1)
    return from_frame(rows, value="value", time="time", feedback="explicit", threshold=4)


def wide(n_items: int = 10_000, n_users: int = 3_000, each: int = 60) -> Dataset:
    """Users with tastes for groups of items, items as uneven as in shops."""
    rng = np.random.default_rng(0)
    item = (rng.pareto(1.0, n_users * each) * n_items / 50).astype(int) % n_items
    rows = pd.DataFrame({"user": np.repeat(np.arange(n_users), each).astype(str), "item": item.astype(str)}).drop_duplicates()
    missing = np.setdiff1d(np.arange(n_items), item).astype(str)
    return from_frame(pd.concat([rows, pd.DataFrame({"user": "0", "item": missing})]))


def timed(act: Callable[[int], Any], n: int) -> dict[str, float]:
    """Milliseconds: median and 99th percentile by the clock, mean of the CPU; the first twenty do not count."""
    for number in range(20):
        act(number)
    took, start = np.empty(n), time.process_time()
    for number in range(n):
        begin = time.perf_counter()
        act(number + 20)
        took[number] = time.perf_counter() - begin
    cpu = (time.process_time() - start) / n
    return {"p50": 1000 * float(np.median(took)), "p99": 1000 * float(np.quantile(took, 0.99)), "cpu": 1000 * cpu}


def measured(bundle: Bundle, users: list[str], folder: Path, n: int) -> dict[str, dict[str, float]]:
    predictor = Predictor(bundle, EventLog(folder / f"events-{time.time_ns()}.log"))
    items = bundle.items.ids[: bundle.n_items]

    def click(number: int) -> None:
        user = users[number % len(users)]
        predictor.feedback(user, items[(7 * number) % len(items)], "click")
        predictor.recommend(user, k=10)

    return {"list": timed(lambda number: predictor.recommend(users[number % len(users)], k=10), n), "click to list": timed(click, n)}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--models", default="ease,als,sasrec,mult_vae")
    ask.add_argument("--lists", type=int, default=1000)
    ask.add_argument("--epochs", type=int, default=3)
    ask.add_argument("--json", type=Path)
    asked = ask.parse_args()
    data, found = movies(), {}
    with tempfile.TemporaryDirectory() as place:
        jobs = [(key, data, {}) for key in asked.models.split(",")] + [("als", wide(), {"factors": 64, "iterations": 3})]
        for key, train, values in jobs:
            cls = registry.get("model", key)
            some = {name: asked.epochs for name in PASSES if name in {field.name for field in cls.card().fields}}
            model = cls(**values, **some).fit(train, RunContext(seed=42))
            users = train.users.decode(np.arange(train.n_users)).tolist()
            for codec in ("float32", "int8"):
                name = f"{key}{'' if train is data else ', 10,000 items x 64'}, {codec}"
                path = Path(place) / "bundle.zip"
                write_bundle(model, path, codec=codec)
                found[name] = measured(Bundle.open(path), users, Path(place), asked.lists) | {"bytes": path.stat().st_size}
                said = "; ".join(
                    f"{what} {t['p50']:.2f} / {t['p99']:.2f} (CPU {t['cpu']:.2f})" for what, t in list(found[name].items())[:2]
                )
                print(f"{name:32} {said}; {found[name]['bytes'] / 2**20:.1f} MiB", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
