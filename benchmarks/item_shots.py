"""New items after their first few users: placed by columns alone, and by these users too.

    python benchmarks/item_shots.py [--data ml-100k|ml-latest-small] [--seeds 42,1,2] [--models maml] [--epochs 0]

A fifth of the items is kept out of training altogether (splitter `cold_items`, a new draw for each seed). Of each the first 0 to 10
users, in an order of chance, are shown; all others have to find it among all known items (recsys_core/evaluation/item_shots.py).
"users and items" learns from items as tasks too, "users" from users alone, whose new items stand where their columns put them. The
number of passes is chosen on known items held out of training, and the model is fitted again, as a run does. Item tables: titles,
genres, year. CPU seconds of this process, one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["ml-100k", "ml-latest-small"], default="ml-100k")
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--models", default="maml")
    parser.add_argument("--epochs", type=int, default=0, help="passes, where they are not to be chosen")
    parser.add_argument("--on", choices=["test", "validation"], default="test")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    options = parser.parse_args()

    from new_items import read

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.evaluation.item_shots import METRICS, SHOTS, make_item_tasks, measure_items

    data = read(options.data, options.folder)
    splitter = registry.get("splitter", "cold_items")(items_share=0.2, min_interactions=1)
    for seed in (int(seed) for seed in options.seeds.split(",")):
        ctx = RunContext(seed=seed, threads=1)
        split = next(iter(splitter.splits(data, ctx)))
        train, held = split.train, split.parts["new_items"]
        if options.on == "validation":
            train, held = splitter.validation(split.train, ctx)
        tasks = make_item_tasks(train, held, SHOTS, seed=seed)
        part, validation = registry.get("splitter", "random")().validation(train, ctx)
        print(f"\n{options.data}, seed {seed}: {len(tasks.items)} items, {tasks.left_out} with too few users")
        print("| model | tasks | users shown | " + " | ".join(METRICS) + " | gain of NDCG by placing | CPU seconds |\n" + "|---" * 9 + "|")
        for key in options.models.split(","):
            for kind in ("users", "users and items"):
                start, model = time.process_time(), registry.get("model", key)(tasks=kind)
                if options.epochs:
                    model = type(model)(tasks=kind, epochs=options.epochs, patience=0)
                else:
                    model = model.fit(part, ctx, validation=validation).for_refit()
                model.fit(train, ctx)
                seconds = time.process_time() - start
                found = measure_items(model, tasks, steps=None if kind != "users" else 0)
                for s in SHOTS if kind != "users" else SHOTS[:1]:
                    said = [f"{found.interval(metric, s)[0]:.4f}" for metric in METRICS]
                    gain = "{:+.4f} ({:+.4f} to {:+.4f})".format(*found.interval("ndcg", s, gain=True))
                    print(f"| {key} | {kind} | {s} | " + " | ".join(said) + f" | {gain} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
