"""Fusion against its parts and against every single model, on the fixed MovieLens 100K pair and on ml-latest-small.

    python benchmarks/fusion.py --data ml-100k|ml-latest-small --seed 42 [--rows ease,als,weighted,…] [--minutes 5] [--keep FOLDER]

One seed a process. Implicit (every rating counts), k = 20, full ranking. ml-100k: train and test file as given; ml-latest-small: a random
fifth of every user's items is the test. Validation is cut from training (a fifth). A row is printed as soon as it is there: NDCG@20 on
validation (fitted without it; for learnt fusions it is what they learnt on) and on the test (fitted on all of train, read after the last
fit), and for fusions the paired difference to their best part (by validation) on the test with its 95 % interval over users. CPU seconds
are of the whole run, less parts that an earlier row had fitted. The minutes of auto_fusion, which fits all its parts itself, are counted
in CPU seconds of this process with one thread, so that what else the machine does changes nothing (--wall counts them by the clock).
--keep: rows as JSON, to put seeds together (`--table FOLDER`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
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
    bench = Bench.of(options.data, options.folder, options.seed, options.keep)
    for name in options.rows.split(","):
        values = dict(FUSIONS.get(name, {})) | ({"minutes": options.minutes} if name == "auto_fusion" else {})
        row = bench.row(name, name.split()[0], values)
        print(line(row), flush=True)
        for note in row["notes"] if name in ("auto_fusion", "weighted") else []:
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


@dataclass
class Bench:
    """One data set cut once. parts: models fitted here, so that the parts of the hand-made fusions are fitted once."""

    data: str
    seed: int
    train: Any
    read_test: Any
    ctx: Any
    part: Any
    validation: Any
    keep: Path | None
    parts: dict[Any, Any] = field(default_factory=dict)
    judged: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, data: str, folder: Path, seed: int, keep: Path | None) -> Bench:
        from recsys_core.context import RunContext
        from recsys_core.splitting.own_test import OwnTest

        train, read_test = read(data, folder, seed)
        ctx = RunContext(seed=seed, threads=1)
        return cls(data, seed, train, read_test, ctx, *OwnTest().validation(train, ctx), keep)

    def row(self, name: str, key: str, values: dict[str, Any]) -> dict[str, Any]:
        """Train and judge, as a run is: fit beside validation, fit again on all, then open the test."""
        from recsys_core import registry

        ctx = self.ctx if key == "auto_fusion" else replace(self.ctx, parts=self.parts)
        start, clock = time.process_time(), time.monotonic()
        alone = not values and name in PARTS  # as a part of a fusion, so that it is fitted once
        made_of, chosen = ("average", {"models": [name]}) if alone else (key, values)
        model = registry.get("model", made_of)(**chosen)
        beside = model.fit(self.part, ctx, validation=self.validation)
        final = beside.for_refit().fit(self.train, ctx)
        cpu, wall = time.process_time() - start, time.monotonic() - clock
        row = {"data": self.data, "seed": self.seed, "row": name, "cpu": cpu, "wall": wall, "notes": [*beside.notes, *final.notes]}
        if alone:
            beside, final = beside.parts[0], final.parts[0]
        on_validation, per_user = self.judge(beside, final)
        row |= {"validation": on_validation, "test": float(per_user["ndcg@20"].mean()), "recall": float(per_user["recall@20"].mean())}
        row |= {"findings": final.findings()} | (self.beside_its_parts(row, per_user, beside, final) if key != name or values else {})
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
            stem = f"{self.data}-{self.seed}-{name.replace(' ', '_')}"
            per_user.to_parquet(self.keep / f"{stem}.parquet")
            (self.keep / f"{stem}.json").write_text(json.dumps(row, indent=1))
        return row

    def judge(self, beside: Any, final: Any) -> tuple[float, Any]:
        """(mean NDCG@20 on validation, per-user figures on the test)."""
        from recsys_core.jobs.training import recommend_test
        from recsys_core.metrics import Catalog, evaluate
        from recsys_core.metrics._quick import ndcg_at
        from recsys_core.splitting.own_test import own_test

        if id(final) not in self.judged:
            lists = beside.recommend_holdout(self.validation, 20)
            split = own_test(self.train, self.read_test())
            evaluation = evaluate(recommend_test(final, split, 20), split.test, Catalog.from_dataset(split.train), (20,))
            found = float(ndcg_at(lists.items, self.validation.relevant, 20).mean()), evaluation.per_user[["ndcg@20", "recall@20"]]
            self.judged[id(final)] = (*found, final)  # kept, so that no other object gets its id
        return self.judged[id(final)][:2]

    def beside_its_parts(self, row: dict[str, Any], per_user: Any, beside: Any, final: Any) -> dict[str, Any]:
        """The paired difference to the part that is best on validation; and, in hindsight, to the one that is best on the test."""
        from recsys_core.evaluation.compare import compare

        judged = {name: self.judge(*pair) for name, *pair in zip(final.part_names(), beside.parts, final.parts, strict=True)}
        best = max(judged, key=lambda name: judged[name][0])
        found = compare(judged[best][1], per_user, "ndcg@20")
        return {
            "best_part": best,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "on_validation": row["validation"] - judged[best][0],
            "to_the_best_on_test": row["test"] - max(float(test["ndcg@20"].mean()) for _, test in judged.values()),
            "parts": {name: [on, float(test["ndcg@20"].mean())] for name, (on, test) in judged.items()},
        }


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
