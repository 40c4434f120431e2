"""Accuracy of every model on the fixed MovieLens 100K pair, as the command line trains it.

    python benchmarks/accuracy.py [--models ease,als] [--seeds 42,1,2] [--data ../shared/data/ml-100k]

Implicit (every rating counts), k = 20, full ranking, recall = hits / |test|, NDCG binary with the ideal cut
at min(|test|, 20), all 943 users. Validation, where a model uses it, is cut from the training file; the test
file is opened once, after the last fit. Prints a Markdown table, best first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

SEEDLESS = {"popular", "ease", "slim", "item_knn", "user_knn", "seq_item_knn", "rp3beta"}
SETTINGS: list[tuple[str, dict]] = [
    ("ease", {"regularization": 200}),
    ("als", {"factors": 32, "regularization": 5, "alpha": 5}),  # the settings of the published reference table
    ("weighted", {"weights": "equal"}),
    ("weighted", {"models": ["ease", "als", "item_knn", "mult_vae"]}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="")
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")) / "ml-100k")
    options = parser.parse_args()

    import numpy as np
    import pandas as pd

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.data.dataset import from_frame
    from recsys_core.jobs.sources import FilesSource
    from recsys_core.jobs.spec import TrainSpec
    from recsys_core.jobs.training import train_run
    from recsys_core.splitting.own_test import OwnTest

    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(options.data / f"{name}.csv.gz", dtype={"user": str, "item": str})

    train = from_frame(read("train"), value="rating", time="timestamp", feedback="explicit", name="ml-100k")
    wanted = options.models.split(",") if options.models else registry.keys("model")
    jobs = [(key, {}) for key in wanted] + [(key, values) for key, values in SETTINGS if key in wanted]
    rows = []
    for key, values in jobs:
        seeds = [int(seed) for seed in options.seeds.split(",")][: 1 if key in SEEDLESS else None]
        ndcg, recall, seconds = [], [], []
        for seed in seeds:
            spec = TrainSpec(dataset="pair", split="own_test", model=key, params=values, ks=(20,), seed=seed)
            with tempfile.TemporaryDirectory() as folder:
                start = time.process_time()
                source = FilesSource(train, lambda: read("test"), OwnTest())
                train_run(spec, source, Path(folder), RunContext(seed=seed, threads=1))
                seconds.append(time.process_time() - start)
                per_user = pd.read_parquet(Path(folder) / "per_user.parquet")
            ndcg.append(per_user["ndcg@20"].mean())
            recall.append(per_user["recall@20"].mean())
        about = ", ".join(f"{name} {value}" for name, value in values.items()) or "defaults"
        spread = f" ± {np.std(ndcg, ddof=1):.4f}" if len(ndcg) > 1 else ""
        rows.append(
            (np.mean(ndcg), f"| `{key}` | {about} | {np.mean(recall):.4f} | {np.mean(ndcg):.4f}{spread} | {np.mean(seconds):.1f} |")
        )
        print(rows[-1][1], flush=True)
    print("\n| model | settings | recall@20 | NDCG@20 | CPU seconds |\n|---|---|---|---|---|")
    print("\n".join(line for _, line in sorted(rows, reverse=True)))


if __name__ == "__main__":
    main()
