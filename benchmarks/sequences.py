"""What comes next: sequence models beside order-aware neighbours and order-blind models, leave-one-out.

    python benchmarks/sequences.py [--data lastfm,synthetic] [--models sasrec,gru4rec] [--seeds 42,1,2]

The last item of every user is held out (splitter `leave_last`), the one before it is the validation where a model
uses one; then the model is fitted again on all but the test item, as the command line does. Full ranking over the catalogue.

Seen items are left out of the lists, as everywhere here, and an item a user came back to counts at its latest time, so a
repeated listening is never what is asked for. (The lastfm file holds every user and item once: the order in which
artists were first met.) Figures of papers that rank seen items too, or against 100 sampled ones, do not compare.

lastfm: ../shared/data/lastfm-sequences, or that folder under RECSYS_REAL_DATA. synthetic: the next item depends on the last
two (recsys_core/testing/sequences.py); above its table stand what the law itself reaches, what is reached by who knows the
law but sees the last item only, and popularity. Needs no file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

MODELS = "popular,item_knn,ease,mult_vae,seq_item_knn,caser,gru4rec,bert4rec,sasrec"
SEEDLESS = {"popular", "ease", "item_knn", "seq_item_knn"}
KS = (10, 20)
SYNTHETIC = {"n_users": 2_000, "n_items": 500, "n": 50, "seed": 7}


def lastfm() -> Any:
    """The listening sequences as a Dataset."""
    import pandas as pd

    from recsys_core.data.dataset import from_frame

    folder = Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")) / "lastfm-sequences"
    frame = pd.read_csv(folder / "interactions.csv.gz", dtype={"user": str, "item": str})
    return from_frame(frame, time="timestamp", name="lastfm")


def synthetic() -> Any:
    """The second-order sequences; prints how much room there is."""
    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.data.topk import top_k
    from recsys_core.metrics._quick import ndcg_at
    from recsys_core.models._masking import masked
    from recsys_core.testing.sequences import second_order

    case = second_order(**SYNTHETIC)
    split = next(iter(registry.get("splitter", "leave_last")().splits(case.data, RunContext())))
    histories = split.train.histories(split.test.users)
    popular = split.train.item_counts.astype(float)[None, :].repeat(len(histories), 0)
    knowing = {"the law (best possible)": case.oracle(histories), "the law, last item only": case.first_order_oracle(histories)}
    print("| who knows | NDCG@10 | NDCG@20 |\n|---|---|---|")
    for name, scores in {**knowing, "popularity": popular}.items():
        items = top_k(masked(scores.astype("float32"), histories.matrix(case.data.n_items), None), max(KS))[0]
        print(f"| {name} | " + " | ".join(f"{ndcg_at(items, split.test.relevant, k).mean():.4f}" for k in KS) + " |", flush=True)
    return case.data


def measured(data: Any, model: str, seed: int, **params: Any) -> tuple[dict[str, float], float, list[str]]:
    """(mean figures, CPU seconds, notes) of one run, made as the command line makes it."""
    import json

    import pandas as pd

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.jobs.sources import RuleSource
    from recsys_core.jobs.spec import TrainSpec
    from recsys_core.jobs.training import train_run

    spec = TrainSpec(dataset=data.name, split="leave_last", model=model, params=params, ks=KS, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        train_run(spec, RuleSource(data, registry.get("splitter", "leave_last")()), Path(folder), RunContext(seed=seed, threads=1))
        seconds = time.process_time() - start
        means = pd.read_parquet(Path(folder) / "per_user.parquet").mean(numeric_only=True)
        return dict(means), seconds, json.loads((Path(folder) / "manifest.json").read_text())["notes"]


def table(data: Any, models: list[str], seeds: list[int]) -> None:
    """Prints each model as it is done, then the whole table, best first."""
    import numpy as np
    import torch  # noqa: F401 - imported here, so that no model pays for it

    rows = []
    for model in models:
        runs = [measured(data, model, seed)[:2] for seed in seeds[: 1 if model in SEEDLESS else None]]
        of = {name: np.array([figures[name] for figures, _ in runs]) for name in ("ndcg@10", "ndcg@20", "recall@20")}
        cells = [f"{x.mean():.4f}" + (f" ± {x.std(ddof=1):.4f}" if len(x) > 1 else "") for x in of.values()]
        cells.append(f"{np.mean([seconds for _, seconds in runs]):.1f}")
        rows.append((of["ndcg@20"].mean(), f"| `{model}` | {' | '.join(cells)} |"))
        print(rows[-1][1], flush=True)
    print("\n| model | NDCG@10 | NDCG@20 | recall@20 | CPU seconds |\n|---|---|---|---|---|")
    print("\n".join(line for _, line in sorted(rows, reverse=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="lastfm,synthetic")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--seeds", default="42,1,2")
    options = parser.parse_args()
    for name in options.data.split(","):
        data = {"lastfm": lastfm, "synthetic": synthetic}[name]()
        print(f"\n## {name}: {len(data):,} interactions, {data.n_users:,} users × {data.n_items:,} items", flush=True)
        table(data, options.models.split(","), [int(seed) for seed in options.seeds.split(",")])


if __name__ == "__main__":
    main()
