"""Items nobody has touched: how well bridges and models of item features rank them, and what the others' lists lose by it.

    python benchmarks/new_items.py [--data ml-100k|ml-latest-small] [--seeds 42,1,2] [--rows ease,"ease bridge",…]

A fifth of the items with an interaction is kept out of training (splitter `cold_items`, a new draw for each seed), and a tenth of
every user's other items is held out beside them. NDCG@20: new = among the new items only; warm = the held-out known items where all
items compete, new ones too; both = all that was held out, where all compete. "titles, genres" reads these two columns of the item
table, "+ year" the year of release too. The settings of `content_knn` are the best of a grid on a validation cut of the training
part, cut by the same rule; all other models have their defaults. The test part is read once. CPU seconds of this process, one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BASES = ("ease", "als", "mult_vae")
TWO = "categories and text"  # of a table of title, genres and year: the first two
GRID = [{"fields": f, "neighbours": n} for f in ("categories", TWO) for n in (10, 20, 50, 100, 200)]
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "content_knn, titles, genres": ("content_knn", {}),
    "content_knn + year": ("content_knn", {"fields": "everything"}),
    "feature_ease + year": ("feature_ease", {}),
    "feature_mf, titles, genres": ("feature_mf", {"fields": TWO}),
    "feature_mf + year": ("feature_mf", {}),
}
for _base in BASES:
    ROWS[_base] = ("average", {"models": [_base]})
    ROWS[f"{_base} bridge, titles, genres"] = ("cold_bridge", {"models": [_base], "fields": TWO})
    ROWS[f"{_base} bridge + year"] = ("cold_bridge", {"models": [_base]})
ROWS["als bridge, kernel"] = ("cold_bridge", {"models": ["als"], "method": "kernel"})
ROWS["als bridge, network"] = ("cold_bridge", {"models": ["als"], "method": "network", "regularization": 0.03})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["ml-100k", "ml-latest-small"], default="ml-100k")
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--rows", default="")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    options = parser.parse_args()

    import numpy as np

    from recsys_core import registry
    from recsys_core.context import RunContext

    data, seeds = read(options.data, options.folder), [int(seed) for seed in options.seeds.split(",")]
    rows = [row for row in ROWS if not options.rows or row in options.rows.split(";")]
    splitter = registry.get("splitter", "cold_items")(items_share=0.2, min_interactions=1)
    figures: dict[str, list[list[float]]] = {row: [] for row in rows}
    for seed in seeds:
        ctx = RunContext(seed=seed, threads=1, parts={})
        split = next(iter(splitter.splits(data, ctx)))
        part, validation = splitter.validation(split.train, ctx)
        known = registry.get("splitter", "random")().validation(split.train, ctx)
        for row in rows:
            key, values = ROWS[row]
            start, found = time.process_time(), dict(values)
            if row == "content_knn, titles, genres":
                tried = [ndcg(registry.get("model", key)(**one).fit(part, ctx), validation) for one in GRID]
                found = GRID[int(np.argmax(tried))]
            # New items tell nothing of when a model that knows ids alone should stop: it stops by known ones, as elsewhere.
            learner = fitted(key, found, *known, ctx) if "mult_vae" in row else None
            model = fitted(key, found if learner is None else learner, split.train, None, ctx)
            reached = judged(model, split) + [time.process_time() - start]
            figures[row].append(reached)
            chosen = getattr(model.resolved, "regularization", "") if key == "cold_bridge" else found if key == "content_knn" else ""
            print(f"{seed} {row:32}" + "".join(f"{value:9.4f}" for value in reached) + f"  {chosen}", flush=True)
    print("\n| model | new | warm | both | CPU seconds |\n|---|---|---|---|---|")
    for row, values in figures.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) if len(values) > 1 else np.zeros(4)
        said = " | ".join(f"{m:.4f} ± {s:.4f}".replace("0.", ".") for m, s in zip(mean[:3], spread[:3], strict=True))
        print(f"| {row} | {said} | {mean[3]:.1f} |")


def fitted(key: str, values: Any, train: Any, validation: Any, ctx: Any) -> Any:
    """A model by its settings, or the one a learner hands on, as a run fits it anew on all of training."""
    from recsys_core import registry

    model = registry.get("model", key)(**values) if isinstance(values, dict) else values.for_refit()
    return model.fit(train, ctx, validation=validation)


def judged(model: Any, split: Any) -> list[float]:
    """NDCG@20 of new items among themselves, of known ones among all, and of both among all."""
    import numpy as np

    from recsys_core.data.holdout import Holdout

    new, warm = split.parts["new_items"], split.parts["warm"]
    truth = {name: np.concatenate([getattr(new.truth, name), getattr(warm.truth, name)]) for name in ("user", "item", "value")}
    both = replace(new.truth, **truth, time=None)
    return [ndcg(model, new), ndcg(model, Holdout(warm.truth)), ndcg(model, Holdout(both))]


def ndcg(model: Any, holdout: Any) -> float:
    import numpy as np

    from recsys_core.metrics._quick import ndcg_at

    return float(np.nanmean(ndcg_at(model.recommend_holdout(holdout, 20).items, holdout.relevant, 20)))


def read(data: str, folder: Path) -> Any:
    """All interactions (each counts), with an item table of title, genres and year."""
    import pandas as pd

    from recsys_core.data.dataset import from_frame

    if data == "ml-100k":
        frame = pd.read_csv(folder / data / "interactions.csv.gz", dtype={"user": str, "item": str})
        whole = from_frame(frame, value="rating", time="timestamp", feedback="explicit", name=data)
        items = pd.read_csv(folder / data / "items.csv", dtype={"item": str}).set_index("item").reindex(list(whole.items.ids))
        table = {"title": items["movie_title"], "genres": items["class"].str.replace(" ", "|"), "year": items["release_year"]}
    else:
        frame = pd.read_csv(folder / data / "ratings.csv", dtype={"userId": str, "movieId": str})
        whole = from_frame(frame, user="userId", item="movieId", value="rating", time="timestamp", feedback="explicit", name=data)
        items = pd.read_csv(folder / data / "movies.csv", dtype={"movieId": str}).set_index("movieId").reindex(list(whole.items.ids))
        year = items["title"].str.extract(r"\((\d{4})\)\s*$")[0].astype(float)
        table = {"title": items["title"].str.replace(r"\s*\(\d{4}\)\s*$", "", regex=True), "genres": items["genres"], "year": year}
    return replace(whole, item_table=pd.DataFrame(table).reset_index(drop=True))


if __name__ == "__main__":
    main()
