"""Fusion against its parts and against every single model, on the fixed MovieLens 100K pair and on ml-latest-small.

    python benchmarks/fusion.py --data ml-100k|ml-latest-small --seed 42 [--rows ease,als,weighted,…] [--minutes 5] [--keep FOLDER]

One seed a process. Implicit (every rating counts), k = 20, full ranking. ml-100k: train and test file as given; ml-latest-small: a random
fifth of every user's items is the test. Validation is cut from training (a fifth). A row is printed as soon as it is there: NDCG@20 on
validation (fitted without it; for learnt fusions it is what they learnt on) and on the test (fitted on all of train, read once, after the
last fit), CPU seconds of the whole run, and for fusions the paired difference to their best part (by validation) on the test with its
95 % interval over users. The minutes of auto_fusion are counted in CPU seconds of this process with one thread, so that what else the
machine does changes nothing (--wall counts them by the clock). --keep: per-user figures and rows as JSON, to put seeds together
(`--table FOLDER`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PARTS = ["ease", "als", "item_knn", "mult_vae"]
FUSIONS: dict[str, dict[str, Any]] = {
    "average": {"models": PARTS},
    "rank_fusion": {"models": PARTS},
    "switching": {"models": PARTS},
    "cascade": {"models": PARTS},
    "weighted": {"models": PARTS},
    "stacking network": {"models": PARTS, "learner": "network"},
    "stacking trees": {"models": PARTS, "learner": "trees"},
    "auto_fusion": {},
}
DEFAULT_ROWS = [*PARTS, *FUSIONS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["ml-100k", "ml-latest-small"], default="ml-100k")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--rows", default=",".join(DEFAULT_ROWS))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    if options.table:
        table(options.table)
        return

    if not options.wall:
        from recsys_core import registry

        registry.get("model", "auto_fusion").clock = staticmethod(time.process_time)
    train, read_test = read(options.data, options.folder, options.seed)
    for name in options.rows.split(","):
        key, values = name.split()[0], dict(FUSIONS.get(name, {}))
        if key == "auto_fusion":
            values["minutes"] = options.minutes
        row = one(options.data, name, key, values, train, read_test, options.seed, options.keep)
        print(line(row), flush=True)
        for note in row["notes"] if key in ("auto_fusion", "weighted") else []:
            print(f"    {note}", flush=True)


def read(data: str, folder: Path, seed: int) -> tuple[Any, Any]:
    """(training set, a function that gives the test): two files, or a random cut by the seed."""
    import pandas as pd

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.data.dataset import from_frame

    if data == "ml-100k":
        frame = pd.read_csv(folder / data / "train.csv.gz", dtype={"user": str, "item": str})
        train = from_frame(frame, value="rating", time="timestamp", feedback="explicit", name=data)
        return train, lambda: pd.read_csv(folder / data / "test.csv.gz", dtype={"user": str, "item": str})
    frame = pd.read_csv(folder / data / "ratings.csv", dtype={"userId": str, "movieId": str})
    whole = from_frame(frame, user="userId", item="movieId", value="rating", time="timestamp", feedback="explicit", name=data)
    split = next(iter(registry.get("splitter", "random")().splits(whole, RunContext(seed=seed))))
    return split.train, lambda: split.test.truth


def one(data: str, name: str, key: str, values: dict[str, Any], train: Any, read_test: Any, seed: int, keep: Path | None) -> dict[str, Any]:
    """Train and judge one row, as a run is: fit beside validation, fit again, then open the test."""
    import numpy as np

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.evaluation.compare import compare
    from recsys_core.jobs.training import recommend_test
    from recsys_core.metrics import Catalog, evaluate
    from recsys_core.metrics._quick import ndcg_at
    from recsys_core.splitting.own_test import OwnTest, own_test

    ctx = RunContext(seed=seed, threads=1)
    part, validation = OwnTest().validation(train, ctx)
    start, clock = time.process_time(), time.monotonic()
    beside = registry.get("model", key)(**values).fit(part, ctx, validation=validation)
    on_validation = ndcg_at(beside.recommend_holdout(validation, 20).items, validation.relevant, 20)
    final = beside.for_refit().fit(train, ctx)
    cpu, wall = time.process_time() - start, time.monotonic() - clock
    split = own_test(train, read_test())
    per_user = evaluate(recommend_test(final, split, 20), split.test, Catalog.from_dataset(split.train), (20,)).per_user[
        ["ndcg@20", "recall@20"]
    ]
    row = {"data": data, "seed": seed, "row": name, "validation": float(np.mean(on_validation)), "cpu": cpu, "wall": wall}
    row |= {
        "test": float(per_user["ndcg@20"].mean()),
        "recall": float(per_user["recall@20"].mean()),
        "notes": [*beside.notes, *final.notes],
    }
    row["findings"] = final.findings()
    if keep is None:
        return row
    keep.mkdir(parents=True, exist_ok=True)
    per_user.to_parquet(keep / f"{data}-{seed}-{name.replace(' ', '_')}.parquet")
    singles = {r["row"]: r for r in rows_in(keep) if r["data"] == data and r["seed"] == seed and r["row"] not in FUSIONS}
    parts = [p["name"] for p in row["findings"].get("parts", [])] if key == "auto_fusion" else values.get("models", [])
    known = [singles[p] for p in parts if p in singles]
    if known and len(known) == len(parts):
        import pandas as pd

        best = max(known, key=lambda r: r["validation"])
        other = pd.read_parquet(keep / f"{data}-{seed}-{best['row']}.parquet")
        found = compare(other, per_user, "ndcg@20")
        row |= {"best_part": best["row"], "difference": found.difference, "low": found.low, "high": found.high}
        row["validation_difference"] = row["validation"] - max(r["validation"] for r in known)
        row["test_difference_to_the_best_on_test"] = row["test"] - max(r["test"] for r in known)
    (keep / f"{data}-{seed}-{name.replace(' ', '_')}.json").write_text(json.dumps(row, indent=1))
    return row


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def line(row: dict[str, Any]) -> str:
    gap = f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}) to {row['best_part']}" if "difference" in row else ""
    return (
        f"| {row['data']} | {row['seed']} | `{row['row']}` | {row['validation']:.4f} | {row['test']:.4f} | {gap} "
        f"| {row['cpu']:.1f} ({row['wall']:.0f} by the clock) |"
    )


def table(folder: Path) -> None:
    """Markdown over the seeds kept in a folder, best first on each data set."""
    import pandas as pd

    frame = pd.DataFrame(rows_in(folder))
    for data, rows in frame.groupby("data"):
        head = "| row | seeds | validation NDCG@20 | test NDCG@20 | to its best part, by seed (95 %) | CPU seconds |"
        print(f"\n**{data}**\n\n{head}\n|---|---|---|---|---|---|")
        groups = sorted(rows.groupby("row"), key=lambda group: -group[1]["test"].mean())
        for name, group in groups:
            spread = f" ± {group['test'].std(ddof=1):.4f}" if len(group) > 1 else ""
            gaps = [
                f"{r.difference:+.4f} ({r.low:+.4f} to {r.high:+.4f})"
                for r in group.sort_values("seed").itertuples()
                if "difference" in group and pd.notna(r.difference)
            ]
            print(
                f"| `{name}` | {len(group)} | {group['validation'].mean():.4f} | {group['test'].mean():.4f}{spread} "
                f"| {'; '.join(gaps)} | {group['cpu'].mean():.0f} |"
            )


if __name__ == "__main__":
    main()
