"""What to ask a new user first: lists after a few questions, chosen by what the training users answered, against simpler choices.

    python benchmarks/questions.py [--data ml-100k|ml-latest-small] [--seeds 42,1,2] [--models ease,maml] [--on test|validation]

A fifth of the users is kept out of training (splitter `cold_users`). Half of what each of them likes, drawn by chance, is the query;
all their other items are what they know: asked about one of these they answer with their rating, about any other they skip. Items of
the query are never asked, and what a user knows is no candidate of a list, so that the task is the same after every question.
NDCG@10 after 3 and 5 answers (at most 60 questions) and after 5 and 10 questions, skipped ones included; differences from asking the
most known items, paired by user, with 95 % bootstrap intervals over the users of all seeds. `--on validation`: new users cut from
training, on which the choices in `evaluation/questions.py` were made. CPU milliseconds a question, one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

STRATEGIES = ("popular", "liked", "random", "informative")
MARKS = {"3 answers": ("answered", 3), "5 answers": ("answered", 5), "5 questions": ("asked", 5), "10 questions": ("asked", 10)}
MOST_ASKED = 60
THRESHOLD = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["ml-100k", "ml-latest-small"], default="ml-100k")
    parser.add_argument("--seeds", default="42,1,2")
    parser.add_argument("--models", default="ease")
    parser.add_argument("--on", choices=["test", "validation"], default="test")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")))
    options = parser.parse_args()

    import numpy as np

    from recsys_core.evaluation.questions import Asker

    figures: dict[tuple[str, str, str], list[Any]] = {}
    counts: dict[tuple[str, str], list[Any]] = {}
    ms: dict[str, list[float]] = {}
    for seed in map(int, options.seeds.split(",")):
        train, people, models = prepare(options, seed)
        for strategy in STRATEGIES:
            asker = Asker.fit(train, strategy, seed=seed)
            start = time.process_time()
            talks = [talk(asker, known, query) for known, query in people]
            ms.setdefault(strategy, []).append(1000 * (time.process_time() - start) / sum(len(one[1]) for one in talks))
            for mark, (kind, n) in MARKS.items():
                told = [so_far(answers, at, kind, n) for answers, at in talks]
                counts.setdefault((strategy, mark), []).append([[len(a), sum(v >= THRESHOLD for _, v in a), asked] for a, asked in told])
                for key, model in models.items():
                    found = ndcg(model, [answers for answers, _ in told], people)
                    figures.setdefault((key, strategy, mark), []).append(found)
        print(f"seed {seed}: {len(people)} new users", flush=True)
    for key in options.models.split(","):
        table(key, {k[1:]: np.concatenate(v) for k, v in figures.items() if k[0] == key})
    print("\n| questions | " + " | ".join(f"{m}: answers, likes, asked" for m in MARKS) + " | ms |\n|" + "---|" * (len(MARKS) + 2))
    for strategy in STRATEGIES:
        means = [np.concatenate(counts[strategy, mark]).mean(axis=0) for mark in MARKS]
        cells = [", ".join(f"{value:.1f}" for value in one) for one in means]
        print(f"| {strategy} | " + " | ".join(cells) + f" | {np.mean(ms[strategy]):.2f} |")


def prepare(options: Any, seed: int) -> tuple[Any, list[tuple[dict[int, float], Any]], dict[str, Any]]:
    """(training set, [(what a new user knows: item -> rating, query)], models by key)."""
    import numpy as np

    from recsys_core import registry
    from recsys_core.context import RunContext

    ctx, data = RunContext(seed=seed, threads=1, parts={}), read(options.data, options.folder)
    splitter = registry.get("splitter", "cold_users")(users_share=0.2, min_interactions=10)
    split = next(iter(splitter.splits(data, ctx)))
    part, validation = splitter.validation(split.train, ctx)
    train, holdout, whole = (split.train, split.test, data) if options.on == "test" else (part, validation, split.train)
    rng, people, values = np.random.default_rng(seed), [], whole.matrix("value")
    for user in holdout.users:
        row = values[[int(user)]]
        liked = row.indices[row.data >= THRESHOLD]
        if len(liked) < 4:
            continue
        query = rng.permutation(liked)[: len(liked) // 2]
        known = ~np.isin(row.indices, query)
        people.append((dict(zip(row.indices[known].tolist(), row.data[known].tolist(), strict=True)), query))
    models = {}
    for key in options.models.split(","):
        model = registry.get("model", key)()
        if model.wants_validation():
            inner, beside = (part, validation) if options.on == "test" else splitter.validation(part, ctx)
            model = model.fit(inner, ctx, validation=beside).for_refit()
        models[key] = model.fit(train, ctx)
    return train, people, models


def talk(asker: Any, known: dict[int, float], query: Any) -> tuple[list[tuple[int, float]], list[int]]:
    """(answers, how many had been answered after each question) of one new user."""
    answers: list[tuple[int, float]] = []
    skipped: list[int] = []
    at: list[int] = []
    while len(at) < MOST_ASKED and (len(answers) < 5 or len(at) < 10):
        found = asker.next(answers, skipped, leave_out=query)
        if not len(found):
            break
        item = int(found[0])
        if item in known:
            answers.append((item, known[item]))
        else:
            skipped.append(item)
        at.append(len(answers))
    return answers, at


def so_far(answers: list[tuple[int, float]], at: list[int], kind: str, n: int) -> tuple[list[tuple[int, float]], int]:
    """(answers, questions asked) when the mark was reached, or at the end where it was not."""
    asked = min(n, len(at)) if kind == "asked" else next((q for q, done in enumerate(at, 1) if done == n), len(at))
    return answers[: at[asked - 1] if asked else 0], asked


def ndcg(model: Any, answers: list[list[tuple[int, float]]], people: list[Any]) -> Any:
    """(users,) NDCG@10 of the query among the items a user does not know."""
    import numpy as np

    from recsys_core.data.histories import Histories
    from recsys_core.data.topk import top_k
    from recsys_core.evaluation.questions import told
    from recsys_core.metrics._quick import ndcg_at

    given = Histories.from_lists([[i for i, _ in one] for one in answers], [[v for _, v in one] for one in answers])
    scores = np.array(model.history_scores(told(model, given)[0]), dtype=np.float32)
    known = Histories.from_lists([list(items) for items, _ in people])
    scores[known.row, known.items] = -np.inf
    truth = Histories.from_lists([query for _, query in people]).matrix(scores.shape[1])
    return ndcg_at(top_k(scores, 10)[0], truth, 10)


def table(key: str, figures: dict[tuple[str, str], Any]) -> None:
    """Means, and differences from asking what is most known."""
    import numpy as np

    from recsys_core.metrics._bootstrap import mean_intervals

    print(f"\n{key}\n| questions | " + " | ".join(MARKS) + " |\n|" + "---|" * (len(MARKS) + 1))
    for strategy in STRATEGIES:
        cells = []
        for mark in MARKS:
            cell = f"{figures[strategy, mark].mean():.4f}"
            if strategy != "popular":
                gain = (figures[strategy, mark] - figures["popular", mark])[:, None]
                low, high = mean_intervals(gain)
                cell += f" ({np.mean(gain):+.4f}, {low[0]:+.4f} to {high[0]:+.4f})"
            cells.append(cell)
        print(f"| {strategy} | " + " | ".join(cells) + " |")


def read(data: str, folder: Path) -> Any:
    """Ratings with a threshold of 4."""
    import pandas as pd

    from recsys_core.data.dataset import from_frame

    if data == "ml-100k":
        frame, names = pd.read_csv(folder / data / "interactions.csv.gz", dtype={"user": str, "item": str}), ("user", "item")
    else:
        frame, names = pd.read_csv(folder / data / "ratings.csv", dtype={"userId": str, "movieId": str}), ("userId", "movieId")
    about = {"value": "rating", "time": "timestamp", "feedback": "explicit", "threshold": THRESHOLD, "name": data}
    return from_frame(frame, user=names[0], item=names[1], **about)


if __name__ == "__main__":
    main()
