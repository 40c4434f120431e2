"""Starting from a model of another dataset: what it buys with few users of one's own, on MovieLens.

    python benchmarks/transfer.py [--there ml-latest-small|ml-100k|books] [--here ml-100k|ml-latest-small] [--model fomaml]
                                  [--columns titles|genres] [--other-films] [--users 50,100,0] [--seeds 42] [--folder FOLDER]

A model is trained on all users of one dataset (there), as a run is: beside validation users, then on all. On the other (here) a fifth of
the users is kept out (splitter `cold_users`), and of the rest so many are kept as --users says (0: all). Compared: popularity, EASE's
fold-in, the model from scratch, the one from there as it is, and that one trained on here. NDCG@10 of the users kept out after 0, 1, 3, 5
and 10 of their items, by lot, three draws averaged, among the whole catalogue; users of all seeds together, 95 % intervals by bootstrap
over users. All settings are the defaults: nothing is chosen on these users.

With few users the pass to stop at is chosen on a handful of them, by chance: with 50 users on 5. Whichever of the two models is stopped
badly loses, whatever the start is worth. So both are trained twice, as a run trains them and with all passes, and like is told beside like;
as it is, which learns nothing here, beside all passes.

The two have films in common (about three quarters of the titles of ml-100k stand in ml-latest-small too), so that a title is nearly an id.
--columns genres leaves titles out; --other-films also takes the films they have in common out of there, so that nothing is known twice.
books: sample_data, whose titles are made up: what a start from data that has nothing to do with this does. Its users' tables are not read.
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
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

SHOTS = (0, 1, 3, 5, 10)
SCRATCH, ALL_PASSES = "from scratch", "from scratch, all passes"
AS_IT_IS, TRAINED_ON, ON_ALL = "from there, as it is", "from there, trained on", "from there, trained on, all passes"
LIKE = {AS_IT_IS: ALL_PASSES, TRAINED_ON: SCRATCH, ON_ALL: ALL_PASSES}  # what stands beside what
DATA = ["ml-100k", "ml-latest-small"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--there", choices=[*DATA, "books"], default="ml-latest-small")
    parser.add_argument("--here", choices=DATA, default="ml-100k")
    parser.add_argument("--model", default="fomaml")
    parser.add_argument("--columns", choices=["titles", "genres"], default="titles", help="titles: with genres and year; genres: and year")
    parser.add_argument("--other-films", action="store_true")
    parser.add_argument("--users", default="50,100,0")
    parser.add_argument("--seeds", default="42")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    options = parser.parse_args()

    import numpy as np

    from recsys_core import registry
    from recsys_core.context import RunContext
    from recsys_core.evaluation.cold_start import make_tasks, measure

    here, there = read(options.here, options.folder), read(options.there, options.folder)
    if options.other_films:
        there = without(there, here)
    here, there = as_read(here, options.columns), as_read(there, options.columns)
    splitter = registry.get("splitter", "cold_users")(users_share=0.2)
    found: dict[tuple[int, str], list[Any]] = {}
    for seed in [int(seed) for seed in options.seeds.split(",")]:
        ctx = RunContext(seed=seed, threads=1, parts={})
        start = time.process_time()
        source = trained(options.model, {}, there, splitter, ctx)
        print(f"{seed} {options.there}: {time.process_time() - start:.0f} s, {source.notes[0]}", flush=True)
        begun = replace(ctx, load_run=lambda run, which="final", source=source: source)
        split = next(iter(splitter.splits(here, ctx)))
        tasks = make_tasks(split.test, SHOTS, draws=3, seed=seed)
        for n in [int(n) for n in options.users.split(",")]:
            train = few(split.train, n, ctx)
            rows = {
                "popular": ("popular", {}),
                "ease": ("ease", {}),
                SCRATCH: (options.model, {}),
                ALL_PASSES: (options.model, {}),
                AS_IT_IS: (options.model, {"start_from": "run:there", "as_it_is": True}),
                TRAINED_ON: (options.model, {"start_from": "run:there"}),
                ON_ALL: (options.model, {"start_from": "run:there"}),
            }
            for row, (key, values) in rows.items():
                start = time.process_time()
                model = trained(key, values, train, splitter, begun, stops=row not in (ALL_PASSES, ON_ALL))
                figures = measure(model, tasks, 10, ctx, timed=False).figures[:, 0]
                found.setdefault((n, row), []).append(figures)
                curve = " ".join(f"{value:.4f}" for value in figures.mean(1))
                told = " ".join(note for note in model.notes if "Columns taken over" in note) + f" {getattr(model.resolved, 'epochs', '')}"
                print(f"{seed} {n or 'all':>4} {row:34} {curve}  {time.process_time() - start:5.0f} s  {told}", flush=True)
    report({row: np.concatenate(parts, 1) for row, parts in found.items()}, f"{options.there} → {options.here}, {options.columns}")


def trained(key: str, values: dict[str, Any], train: Any, splitter: Any, ctx: Any, stops: bool = True) -> Any:
    """A model as a run fits it; stops=False: with all its passes, on all users, without validation."""
    from recsys_core import registry

    model = registry.get("model", key)(**values)
    if stops and model.wants_validation():
        part, validation = splitter.validation(train, ctx)
        model = model.fit(part, ctx, validation=validation).for_refit()
    return model.fit(train, ctx)


def few(train: Any, n: int, ctx: Any) -> Any:
    """So many of its users, by lot; all for 0. Those of a smaller number are among those of a larger one."""
    import numpy as np

    active = ctx.rng("few users").permutation(np.flatnonzero(train.user_counts))
    return train.subset(np.isin(train.user, active[:n])) if n else train


def report(found: dict[tuple[int, str], Any], title: str) -> None:
    """The curves, and what the start bought in percent of the model from scratch, with intervals."""
    import numpy as np

    rng = np.random.default_rng(0)

    def lots(values: Any) -> Any:
        return values[:, rng.integers(values.shape[1], size=(2000, values.shape[1]))].mean(2)  # (shots, lots)

    print(f"\n| {title} | users | " + " | ".join(f"{s} shown" for s in SHOTS) + " |\n|---|---|" + "---|" * len(SHOTS))
    for (n, row), values in found.items():
        low, high = np.percentile(lots(values), [2.5, 97.5], axis=1)
        cells = [f"{m:.4f} ({a:.3f}–{b:.3f})" for m, a, b in zip(values.mean(1), low, high, strict=True)]
        print(f"| {row} | {n or 'all'} | " + " | ".join(cells) + " |")
    print("\n| bought, in percent | users | " + " | ".join(f"{s} shown" for s in SHOTS) + " |\n|---|---|" + "---|" * len(SHOTS))
    for n in dict.fromkeys(n for n, _ in found):
        for row, scratch in LIKE.items():
            gap, base = found[n, row] - found[n, scratch], found[n, scratch].mean(1)
            low, high = np.percentile(lots(gap), [2.5, 97.5], axis=1) / base
            cells = [f"{m:+.1%} ({a:+.1%} to {b:+.1%})" for m, a, b in zip(gap.mean(1) / base, low, high, strict=True)]
            print(f"| {row} | {n or 'all'} | " + " | ".join(cells).replace("%", " %") + " |")


def read(data: str, folder: Path) -> Any:
    """Every interaction counts; the item table has title, genres and year."""
    import pandas as pd
    from new_items import read as films

    from recsys_core.data.dataset import from_frame

    if data != "books":
        whole = films(data, folder)
        table = whole.item_table.assign(year=pd.to_numeric(whole.item_table["year"], errors="coerce"))
    else:
        frame = pd.read_csv(ROOT / "sample_data" / "interactions.csv.gz", dtype=str)
        user, item = frame.columns[:2]
        whole = from_frame(frame[[user, item]].drop_duplicates(), user=user, item=item, name=data)
        items = pd.read_csv(ROOT / "sample_data" / "items.csv", dtype=str).drop_duplicates("item_id").set_index("item_id")
        items = items.reindex(list(whole.items.ids)).reset_index(drop=True)
        year = pd.to_datetime(items["released"], errors="coerce").dt.year.astype(float)
        table = pd.DataFrame({"title": items["title"], "genres": items["categories"], "year": year})
    return replace(whole, item_table=table)


def without(there: Any, here: Any) -> Any:
    """Without the interactions with films of both, known by their titles."""
    import numpy as np

    def titles(data: Any) -> Any:
        return data.item_table["title"].fillna("").str.casefold().str.strip()

    both = titles(there).isin(set(titles(here)) - {""}).to_numpy()
    kept = there.subset(~both[there.item])
    print(f"{np.count_nonzero(both):,} films of both are left out there; {len(kept):,} of {len(there):,} interactions stay.")
    return kept


def as_read(data: Any, columns: str) -> Any:
    """With the columns that are read."""
    return data if columns == "titles" else replace(data, item_table=data.item_table.drop(columns="title"))


if __name__ == "__main__":
    main()
