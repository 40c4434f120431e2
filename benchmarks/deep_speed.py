"""What the deep models cost: CPU seconds an epoch, peak memory, scoring; and the loop beside a DataLoader of row tuples.

    python -m benchmarks.deep_speed [--models mult_vae,neumf] [--epochs 2] [--threads 1] [--json figures.json] [--scale 1]

Models of users and items: 1 million interactions, 6,000 users × 3,700 items. Sequence models: 200,000 interactions of
4,000 users with 12,000 items, the Transformers with the last 50 items and 64 wide. Scoring: the top 20 for 1,000 users
among 10,000 items, by models of the size they have for the above. Everything is measured in a process of its own, in
CPU seconds of all its threads; the last epoch counts (the first warms up). Memory is the process's peak, torch included.
The row loop is what is written first everywhere: TensorDataset, DataLoader, one row a choice and a row a negative,
Adam, BCE; with the same network, the same negatives a choice and the same rows a step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np

from recsys_core import registry
from recsys_core.context import Progress, RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.ids import IdMap

MODELS = "neumf,mlp,gmf,deepfm,two_tower,mult_vae,mult_dae,recvae,cfgan,lightgcn,sasrec,bert4rec,gru4rec,caser"
EPOCH_BARS = {"mult_vae": 3.0, "lightgcn": 30.0, "neumf": 4.0, "sasrec": 25.0}  # CPU seconds
MEMORY_BARS = {"sasrec": 2048}  # MiB
SCORE_BAR, LOOP_BAR = 1.0, 5.0
NEGATIVES = 4
ROW_LOOP_CHOICES = 40_000  # enough to measure; times 1 + NEGATIVES rows


def synthetic(n_users: int = 6_000, n_items: int = 3_700, n: int = 1_000_000, seed: int = 0) -> Dataset:
    """n distinct (user, item) pairs: items by a power law, users by a log-normal number of interactions; times, a feature a side."""
    rng = np.random.default_rng(seed)
    share = rng.lognormal(0, 0.9, n_users)
    popularity = np.arange(1, n_items + 1) ** -0.7
    pairs = np.empty(0, np.int64)
    while len(pairs) < n:
        user = rng.choice(n_users, n, p=share / share.sum())
        item = rng.choice(n_items, n, p=popularity / popularity.sum())
        pairs = np.unique(np.concatenate([pairs, user * n_items + item]))
    pairs = rng.permutation(pairs)[:n]
    ids = [IdMap(np.arange(size).astype(str)) for size in (n_users, n_items)]
    tables = [_features(size, rng) for size in (n_users, n_items)]
    return Dataset(*ids, pairs // n_items, pairs % n_items, np.ones(n, np.float32), np.arange(n) * 60, "implicit", None, *tables)


def _features(n: int, rng: np.random.Generator) -> Any:
    import pandas as pd

    return pd.DataFrame({"group": rng.choice([f"group {k}" for k in range(20)], n), "number": rng.normal(size=n).round(2)})


def sizes(cls: type, scale: float) -> dict[str, int]:
    """The data a model is timed on."""
    users, items, n = (4_000, 12_000, 200_000) if cls.family == "Sequential" else (6_000, 3_700, 1_000_000)
    return {"n_users": round(users * scale**0.5), "n_items": round(items * scale**0.5), "n": round(n * scale)}


def settings(cls: type, key: str) -> dict[str, Any]:
    return {"max_len": 50, "dim": 64} if key in ("sasrec", "bert4rec") else {}


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def fit(key: str, options: argparse.Namespace, **values: Any) -> dict[str, Any]:
    """A few epochs, reading the clock at every epoch's end."""
    cls = registry.get("model", key)
    data = synthetic(**sizes(cls, options.scale))
    ticks = [time.process_time()]

    def tick(progress: Progress) -> None:
        if "loss" in progress.metrics and not progress.message:  # with a message: news from inside an epoch
            ticks.append(time.process_time())

    model = cls(epochs=options.epochs, patience=0, **settings(cls, key), **values)
    model.fit(data, RunContext(threads=options.threads, on_progress=tick))
    epochs = np.diff(ticks)
    return {
        "epoch_seconds": [round(float(x), 3) for x in epochs],  # the first includes building the network
        "choices_per_second": round(len(data) / float(epochs[-1])),
        "peak_mib": peak_mib(),
        "params": model.resolved.model_dump(),
    }


def score(key: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds for the lists of 1,000 users, and for 1,000 histories of users never seen, among 10,000 items."""
    cls = registry.get("model", key)
    n_items = round(10_000 * options.scale**0.5)
    data = synthetic(2_000, n_items, 60_000)
    full = sizes(cls, options.scale)
    stats = replace(data.stats, n_users=full["n_users"], n_interactions=full["n"])
    model = cls(cls(epochs=1, patience=0, **settings(cls, key)).resolve(stats))
    model.fit(data, RunContext(threads=options.threads))
    users = np.flatnonzero(data.user_counts)[:1000]
    model.recommend(users[:10], 20)
    start = time.process_time()
    model.recommend(users, 20)
    known = time.process_time() - start
    start = time.process_time()
    model.recommend_for_history(data.histories(users[:200]), 20)
    return {"score_seconds": known, "fold_in_seconds": (time.process_time() - start) * 5, "peak_mib": peak_mib()}


def row_loop(options: argparse.Namespace) -> dict[str, Any]:
    """The straightforward way, on some of the choices; seconds for the negatives and for the loop."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from recsys_core.nn.interaction import InteractionNet

    cls = registry.get("model", "neumf")
    data = synthetic(**sizes(cls, options.scale))
    p = cls(loss="bce", negatives=NEGATIVES).resolve(data.stats)
    torch.set_num_threads(options.threads)
    choices = list(zip(data.user[:ROW_LOOP_CHOICES].tolist(), data.item[:ROW_LOOP_CHOICES].tolist(), strict=True))
    seen = set(zip(data.user.tolist(), data.item.tolist(), strict=True))
    network = InteractionNet(data.n_users, data.n_items, p.factors, p.hidden, p.layers, p.dropout)
    optimizer = torch.optim.Adam(network.parameters(), lr=p.learning_rate)
    criterion = nn.BCEWithLogitsLoss()
    chance = random.Random(0)
    start = time.process_time()
    users, items, labels = [], [], []
    for user, item in choices:
        users.append(user)
        items.append(item)
        labels.append(1.0)
        for _ in range(NEGATIVES):
            negative = chance.randrange(data.n_items)
            while (user, negative) in seen:
                negative = chance.randrange(data.n_items)
            users.append(user)
            items.append(negative)
            labels.append(0.0)
    drawn = time.process_time()
    rows = TensorDataset(torch.tensor(users), torch.tensor(items), torch.tensor(labels))
    for user, item, label in DataLoader(rows, batch_size=p.batch_size * (1 + NEGATIVES), shuffle=True):
        optimizer.zero_grad()
        loss = criterion(network.pairs(network.users(user), *network.items(item)), label)
        loss.backward()
        optimizer.step()
    done = time.process_time()
    return {
        "choices_per_second": round(len(choices) / (done - start)),
        "choices_per_second_negatives_given": round(len(choices) / (done - drawn)),
    }


JOBS = {
    "fit": fit,
    "score": score,
    "row_loop": lambda key, options: row_loop(options),
    "bce": lambda key, options: fit(key, options, loss="bce", negatives=NEGATIVES),
}


def elsewhere(job: str, key: str, options: argparse.Namespace) -> dict[str, Any]:
    """The job's figures, from a process of its own; {"failed": why} when it ends badly."""
    command = [sys.executable, "-m", "benchmarks.deep_speed", "--job", job, "--models", key]
    for name in ("epochs", "threads", "scale"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(options.threads)})
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def judged(value: float | None, bar: float | None, form: str, unit: str = "") -> str:
    """'2.9 (< 4: pass)'."""
    if value is None:
        return "–"
    text = f"{value:{form}}{unit}"
    return text if bar is None else f"{text} (< {bar:g}{unit}: {'pass' if value < bar else 'MISS'})"


def loops(options: argparse.Namespace) -> dict[str, Any]:
    """NeuMF here against the row loop."""
    naive, own, default = (elsewhere(job, "neumf", options) for job in ("row_loop", "bce", "fit"))
    failed = next((run for run in (naive, own, default) if "failed" in run), None)
    if failed:
        print(f"NeuMF against the row loop: failed: {failed['failed']}")
        return failed
    slow, slowish = naive["choices_per_second"], naive["choices_per_second_negatives_given"]
    print("\n| NeuMF, same network | choices a CPU second | × row loop | × row loop, negatives given |\n|---|---|---|---|")
    print(f"| DataLoader of row tuples, BCE, {NEGATIVES} negatives | {slow:,} ({slowish:,} with the negatives given) | 1 | 1 |")
    for name, run in ((f"here, BCE, {NEGATIVES} negatives", own), ("here, the default: softmax against shared negatives", default)):
        speed = run["choices_per_second"]
        verdict = "pass" if speed / slowish >= LOOP_BAR else "MISS"
        print(f"| {name} | {speed:,} | {speed / slow:.1f} | {speed / slowish:.1f} (≥ {LOOP_BAR:g}: {verdict}) |", flush=True)
    return {"row_loop": naive, "bce": own, "default": default}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data, to try the script out; bars are for 1")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--job", choices=list(JOBS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(JOBS[options.job](options.models, options)))
        return
    figures: dict[str, Any] = {}
    print("| model | CPU seconds an epoch | choices a CPU second | peak memory | 1,000 users scored, CPU s | 1,000 new users |")
    print("|---|---|---|---|---|---|")
    there = registry.keys("model")
    for key in options.models.split(","):
        if key not in there:
            print(f"| `{key}` | skipped: there is no such model | | | | |")
            continue
        trained, scored = elsewhere("fit", key, options), elsewhere("score", key, options)
        figures[key] = {"fit": trained, "score": scored}
        if "failed" in trained:
            cells = [f"failed: {trained['failed']}", "–", "–"]
        else:
            epoch = judged(trained["epoch_seconds"][-1], EPOCH_BARS.get(key), ".2f")
            memory = judged(trained["peak_mib"], MEMORY_BARS.get(key), ",", " MiB")
            cells = [epoch, f"{trained['choices_per_second']:,}", memory]
        cells += [judged(scored.get("score_seconds"), SCORE_BAR, ".2f"), judged(scored.get("fold_in_seconds"), None, ".2f")]
        if "failed" in scored:
            cells[-2] = f"failed: {scored['failed']}"
        print(f"| `{key}` | {' | '.join(cells)} |", flush=True)
    if "neumf" in options.models.split(","):
        figures["loops"] = loops(options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
