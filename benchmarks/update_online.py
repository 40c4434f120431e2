"""What taking in new events buys, beside leaving the model as it was and beside training again.

    python -m benchmarks.update_online [--models ease,als,item_knn] [--json figures.json]

MovieLens 100K, every user's ratings in order of time: trained on the first 70 %, the next 15 % taken in (`Recommender.updated`), measured
on the last 15 % (a tenth of the users come only after training, with all they have):
NDCG@20 and recall@20 of users who have something there, in the whole catalogue; what they had by then is left out for all alike.
Frozen: the model of the first 70 %, with everybody's history as it was then (somebody new: most popular). Folded: the same model
asked with the histories as they are now, which is what the predictor does at every click. Seconds are of the CPU. Settings are the
defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK, top_k

K, FIRST, THEN = 20, 0.7, 0.85
DATA = Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data"))


def parts() -> tuple[Dataset, Dataset, pd.DataFrame]:
    """(the first 70 %, the first 85 % on id maps that go on, the rows of the last 15 %)."""
    rows = pd.read_csv(DATA / "ml-100k" / "interactions.csv.gz").set_axis(["user", "item", "value", "time"], axis=1)
    rows = rows.astype({"user": str, "item": str}).sort_values("time", kind="stable", ignore_index=True)
    place = (rows.groupby("user").cumcount() + 1) / rows.groupby("user")["item"].transform("size")
    late = rows["user"].isin(sorted(rows["user"].unique())[::10])
    first, then = rows[(place <= FIRST) & ~late], rows[place <= THEN]
    then = pd.concat([first, then.drop(first.index)])  # training's rows first, as an update has them
    ids = {}
    for side in ("user", "item"):
        known = sorted(first[side].unique())
        ids[side] = known, [*known, *sorted(set(then[side]) - set(known))]
    make = {"value": "value", "time": "time", "feedback": "explicit"}
    before = from_frame(first, users=IdMap(ids["user"][0]), items=IdMap(ids["item"][0]), **make)
    return before, from_frame(then, users=IdMap(ids["user"][1]), items=IdMap(ids["item"][1]), **make), rows[place > THEN]


def ranked(scores: np.ndarray, seen: np.ndarray, n_items: int) -> TopK:
    """Lists of K, items the model has no place for last, seen ones never."""
    wide = np.full((len(scores), n_items), np.finfo(np.float32).min, np.float32)
    wide[:, : scores.shape[1]] = scores
    wide[seen] = -np.inf
    return TopK(np.arange(len(scores)), *top_k(wide, K))


def measured(top: TopK, truth: np.ndarray) -> dict[str, np.ndarray]:
    """(B,) of every user. truth: bool (B, I)."""
    hits = np.where(top.items >= 0, np.take_along_axis(truth, np.maximum(top.items, 0), axis=1), False)
    discount, n = 1 / np.log2(np.arange(2, K + 2)), truth.sum(axis=1)
    ideal = np.cumsum(discount)[np.minimum(n, K) - 1]
    return {"ndcg": (hits * discount).sum(axis=1) / ideal, "recall": hits.sum(axis=1) / n}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--models", default="popular,ease,item_knn,als,pure_svd,mult_vae")
    ask.add_argument("--json", type=Path)
    asked = ask.parse_args()
    before, after, last = parts()
    user, item = after.users.encode(last["user"]), after.items.encode(last["item"])
    known = (user >= 0) & (item >= 0)
    truth = np.zeros((after.n_users, after.n_items), bool)
    truth[user[known], item[known]] = True
    seen = after.matrix("seen").toarray() > 0
    users = np.flatnonzero((truth & ~seen).any(axis=1))
    truth, seen = (truth & ~seen)[users], seen[users]
    since = np.isin(users, np.unique(after.user[len(before) :]))
    print(f"{len(users)} users, {since.sum()} of them with events to take in, {len(after) - len(before):,} events")
    rows_of_table: list[dict[str, Any]] = []
    for key in asked.models.split(","):
        cls, ctx, clock = registry.get("model", key), RunContext(seed=42), time.process_time
        start = clock()
        model = cls().fit(before, ctx)
        fit = clock() - start
        keep = after.item < before.n_items
        rows = (x[keep] for x in (after.user, after.item, after.value, after.time))
        known_items = Dataset(after.users, before.items, *rows, after.feedback)
        data = after if cls.takes_new_items else known_items
        start = clock()
        updated = model.updated(data, ctx)
        update = clock() - start
        start = clock()
        again = cls().fit(after, ctx)
        refit = clock() - start
        old = np.where(users < before.n_users, users, -1)
        scores = {
            "frozen": model.scores(old),
            "folded": model.history_scores(known_items.histories(users)),
            "updated": updated.scores(users),
            "again": again.scores(users),
        }
        row: dict[str, Any] = {"model": key, "fit_seconds": fit, "update_seconds": update, "again_seconds": refit}
        each = {name: measured(ranked(values, seen, after.n_items), truth) for name, values in scores.items()}
        row |= {name: {metric: float(values.mean()) for metric, values in found.items()} for name, found in each.items()}
        gain = each["updated"]["ndcg"] - each["frozen"]["ndcg"]
        draws = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
        row["gain"] = [float(gain.mean()), *np.quantile(gain[draws].mean(axis=1), [0.025, 0.975]).tolist()]
        rows_of_table.append(row)
        said = "  ".join(f"{name} {row[name]['ndcg']:.4f} / {row[name]['recall']:.4f}" for name in scores)
        low, high = row["gain"][1:]
        print(
            f"{key:9} {said}  gain {row['gain'][0]:+.4f} ({low:+.4f} to {high:+.4f})  {update:.2f} s, training again {refit:.2f} s",
            flush=True,
        )
    if asked.json:
        asked.json.write_text(json.dumps(rows_of_table, indent=1))


if __name__ == "__main__":
    main()
