"""New users after a few clicks: models that adapt beside fold-ins, on MovieLens.

    python benchmarks/cold_start.py [--data ml-100k|ml-latest-small] [--seeds 42,1,2] [--models ease,anil,"maml encoder=mlp",…]
                                    [--part test|validation] [--threshold 4] [--out FOLDER]

A fifth of the users is kept out of training (splitter `cold_users`, a new draw for each seed). 10 items of each of them are set aside, by
lot, three draws averaged; 0, 1, 2, 3, 5 and 10 of these are shown; all their other items are to be found, the same for every number shown,
among the whole catalogue. NDCG@10. Users of all seeds are put together for the intervals (95 %, bootstrap over users). Models with a
validation are fitted twice, as a run is: beside validation users, then on all of training. --threshold: only ratings of so much count
(0: all). ml-100k: titles, genres, year of items; age, gender, occupation of users. ml-latest-small: titles, genres, year. CPU seconds, one
thread.
--part validation: the same on the validation users alone, for choosing settings; the test is for the last word.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

FOLD_INS = ("ease", "item_knn", "als", "mult_vae")
ADAPTING = ("maml", "fomaml", "anil", "melu", "reptile", "proximal_meta")
MODELS = ("popular", "content_knn", *FOLD_INS, "fine_tuned", *ADAPTING, "meta_average")
SHOTS = (0, 1, 2, 3, 5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["ml-100k", "ml-latest-small"], default="ml-100k")
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument("--threshold", type=float, default=0.0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    options = parser.parse_args()

    import numpy as np

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.evaluation.cold_start import make_tasks, measure

    data = read(options.data, options.folder, options.threshold)
    splitter = registry.get("splitter", "cold_users")(users_share=0.2)
    found: dict[str, dict[str, list[Any]]] = {}
    for seed in [int(seed) for seed in options.seeds.split(",")]:
        ctx = RunContext(seed=seed, threads=1, parts={})
        split = next(iter(splitter.splits(data, ctx)))
        train, holdout = (split.train, split.test) if options.part == "test" else splitter.validation(split.train, ctx)
        tasks = make_tasks(holdout, SHOTS, draws=3, seed=seed)
        beside = splitter.validation(train, ctx)
        for row in options.models.split(","):
            start = time.process_time()
            model = fitted(row, train, beside, ctx)
            seconds = time.process_time() - start
            got = measure(model, tasks, 10, ctx)
            one = found.setdefault(row, {"after": [], "before": [], "seconds": [], "ms": []})
            one["after"].append(got.figures[:, 0])
            one["before"].append(got.figures[:, 0] * np.nan if got.unadapted is None else got.unadapted[:, 0])
            one["seconds"].append(seconds)
            one["ms"].append(got.ms)
            curve = " ".join(f"{value:.4f}" for value in got.figures[:, 0].mean(1))
            print(f"{seed} {row:32} {curve}  {seconds:6.1f} s  {got.ms:6.1f} ms  {model.notes[-1] if model.notes else ''}", flush=True)
            if options.out:
                options.out.mkdir(parents=True, exist_ok=True)
                name = f"{options.data}-{options.part}-{seed}-{row}".replace(" ", "_").replace("/", "_")
                np.savez(options.out / f"{name}.npz", after=one["after"][-1], before=one["before"][-1], seconds=seconds, ms=got.ms)
    report(found, options.data)


def fitted(row: str, train: Any, beside: Any, ctx: Any) -> Any:
    """A model as a run fits it. row: its key, and after it settings as name=value."""
    from recsys_core import registry

    key, *settings = row.split()
    values = dict(setting.split("=", 1) for setting in settings)
    model = registry.get("model", key)(**{name: _value(value) for name, value in values.items()})
    if model.wants_validation():
        model = model.fit(beside[0], ctx, validation=beside[1]).for_refit()
    return model.fit(train, ctx)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def report(found: dict[str, dict[str, list[Any]]], data: str) -> None:
    """Two tables: the curves with intervals, and what the steps add."""
    import numpy as np

    rng = np.random.default_rng(0)

    def interval(values: Any) -> tuple[float, float]:
        lots = rng.integers(len(values), size=(2000, len(values)))
        return tuple(np.percentile(values[lots].mean(1), [2.5, 97.5]))

    after = {row: np.concatenate(one["after"], 1) for row, one in found.items()}
    print(f"\n| {data} | " + " | ".join(f"{s} shown" for s in SHOTS) + " | seconds | ms a user |\n|---|" + "---|" * (len(SHOTS) + 2))
    for row, values in after.items():
        cells = [f"{one.mean():.4f} ({interval(one)[0]:.3f}–{interval(one)[1]:.3f})" for one in values]
        seconds, ms = np.mean(found[row]["seconds"]), np.nanmean(found[row]["ms"])
        print(f"| {row} | " + " | ".join(cells) + f" | {seconds:.0f} | {ms:.1f} |")
    print("\n| gain of adapting | " + " | ".join(f"{s} shown" for s in SHOTS[1:]) + " |\n|---|" + "---|" * (len(SHOTS) - 1))
    for row, one in found.items():
        gain = after[row] - np.concatenate(one["before"], 1)
        if np.isfinite(gain).all():
            cells = [f"{value.mean():+.4f} ({interval(value)[0]:+.3f} to {interval(value)[1]:+.3f})" for value in gain[1:]]
            print(f"| {row} | " + " | ".join(cells) + " |")
    adapting = [row for row in found if row.split()[0] in (*ADAPTING, "meta_average")]
    for others, what in (
        (FOLD_INS, "best fold-in"),
        (("popular",), "popular"),
        (("content_knn",), "content_knn"),
        (("fine_tuned",), "fine_tuned"),
    ):
        rivals = [row for row in found if row.split()[0] in others]
        if not adapting or not rivals:
            continue
        print(f"\nBest that adapts against {what}:")
        for number, shown in enumerate(SHOTS):
            best = max(adapting, key=lambda row: after[row][number].mean())
            rival = max(rivals, key=lambda row: after[row][number].mean())
            gap = after[best][number] - after[rival][number]
            low, high = interval(gap)
            print(f"  {shown:2} shown: {best} − {rival} = {gap.mean():+.4f} ({low:+.4f} to {high:+.4f})")


def read(data: str, folder: Path, threshold: float) -> Any:
    """As benchmarks/new_items.py reads it, with the users' columns of ml-100k."""
    import pandas as pd
    from new_items import read as with_items

    whole = with_items(data, folder)
    if data == "ml-100k":
        users = pd.read_csv(folder / data / "users.csv", dtype={"user": str}).set_index("user").reindex(list(whole.users.ids))
        whole = replace(whole, user_table=users[["age", "gender", "occupation"]].reset_index(drop=True))
    return replace(whole, threshold=threshold) if threshold else whole


if __name__ == "__main__":
    main()
