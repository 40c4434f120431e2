"""20,000 titles to vectors: each text encoder, twice with one cache; seconds of the processor and memory.

    python benchmarks/text.py [--titles 20000] [--characters 0] [--size 64] [--threads 1] [--files items.csv …] [--model ""]

Titles are those of the sample's items (and of further files with a column `title`), their words dealt anew until there are enough
distinct ones; with --characters they are strung together to texts of that length. Every measurement is a process of its own:
the field is learnt and the column encoded, first with an empty cache, then again with what the first left. Memory: the most the
process held above what it held before. Then, with --ratings (--titles 0: this alone), how well vectors of the titles as they are
tell which items go together: the share of pairs liked by one person, or of items and the ten most often liked with them, whose cosine
is above that of two items drawn by how often they are liked (or evenly). Of the ratings four fifths by chance are read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data" / "items.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("titles", 20_000), ("characters", 0), ("size", 64), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--files", nargs="*", type=Path, default=[])
    parser.add_argument("--model", default="")
    parser.add_argument("--encoder", default="", help="one alone")
    parser.add_argument("--ratings", type=Path, help="a file with userId, movieId, rating; the first of --files has movieId and title")
    parser.add_argument("--one", nargs=2, metavar=("ENCODER", "CACHE"), help="measure one, print JSON (used by this script itself)")
    options = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(options.threads))
    if options.one:
        print(json.dumps(measured(options)))
        return
    encoders = [options.encoder] if options.encoder else usable()
    if options.titles:
        timed(options, encoders)
    if options.ratings:
        told_apart(options, encoders)


def timed(options: argparse.Namespace, encoders: list[str]) -> None:
    print("| encoder | cache | CPU seconds | ms a text | MB |\n|---|---|---|---|---|")
    for key in encoders:
        with tempfile.TemporaryDirectory() as cache:
            for when in ("empty", "filled"):
                done = subprocess.run([sys.executable, *sys.argv, "--one", key, cache], capture_output=True, text=True)
                if done.returncode:
                    print(f"| `{key}` | {when} | {done.stderr.strip().splitlines()[-1]} |")
                    continue
                told = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"| `{key}` | {when} | {told['seconds']:.1f} | {1000 * told['seconds'] / told['texts']:.2f} | {told['mb']:.0f} |",
                    flush=True,
                )


def told_apart(options: argparse.Namespace, encoders: list[str]) -> None:
    print("\n| encoder | size | AUC, liked by one person | AUC, ten closest neighbours |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        for key in encoders:
            for size in (16, 32, 64, 128):
                print("| `{}` | {} | {:.3f} | {:.3f} |".format(key, size, *liked_together(options, key, size, Path(cache))), flush=True)


def usable() -> list[str]:
    from recsys_core import registry

    return [key for key, cls in registry.all_of("text_encoder").items() if not cls.unavailable()]


def measured(options: argparse.Namespace) -> dict[str, float]:
    from recsys_core.context import RunContext
    from recsys_core.data.features.text_field import Text

    key, cache = options.one
    column = titles(options.titles, options.characters, options.files)
    ctx = RunContext(threads=options.threads, cache=Path(cache))
    Text.fit("warm", column[:50], RunContext(threads=options.threads), encoder=key, model=options.model)  # libraries and weights loaded
    with Memory() as memory:
        started = time.process_time()
        Text.fit("title", column, ctx, encoder=key, size=options.size, model=options.model).encode(column, ctx)
        seconds = time.process_time() - started
    return {"seconds": seconds, "mb": memory.most, "texts": len(column)}


def titles(n: int, characters: int, files: list[Path]) -> Any:
    """Series of n distinct texts."""
    import numpy as np
    import pandas as pd

    real = list(dict.fromkeys(pd.concat([pd.read_csv(path)["title"] for path in [*files, SAMPLE]]).dropna().astype(str)))
    rng = np.random.default_rng(0)
    words = np.array([word for title in real for word in title.split()], dtype=object)
    lengths = np.array([len(title.split()) for title in real])
    found = dict.fromkeys(real[:n])
    while len(found) < n:
        found[" ".join(rng.choice(words, rng.choice(lengths)))] = None
    texts = list(found)
    if characters:
        together = " ".join(rng.permutation(np.array(texts, dtype=object)))
        starts = rng.integers(0, max(1, len(together) - characters), n)
        texts = [together[start : start + characters] for start in starts]
    return pd.Series(texts, dtype=object)


def liked_together(options: argparse.Namespace, key: str, size: int, cache: Path) -> tuple[float, float]:
    """Of the four fifths of the likes that stand for training."""
    import numpy as np
    import pandas as pd
    from scipy import sparse
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import normalize

    from recsys_core.context import RunContext
    from recsys_core.data.features.text_field import Text

    items, ratings, rng = pd.read_csv(options.files[0]), pd.read_csv(options.ratings), np.random.default_rng(0)
    ratings = ratings[(rng.random(len(ratings)) < 0.8) & (ratings.rating >= 4)]
    item = pd.Index(items.movieId).get_indexer(ratings.movieId)
    likes = sparse.csr_matrix((np.ones(len(item)), (pd.factorize(ratings.userId)[0], item)), shape=(ratings.userId.nunique(), len(items)))
    ctx = RunContext(threads=options.threads, cache=cache)
    vectors = Text.fit("title", items.title, ctx, encoder=key, size=size, model=options.model).encode(items.title, ctx)[:, :-1].toarray()

    likes.sort_indices()
    user = rng.choice(np.flatnonzero(np.diff(likes.indptr) > 1), 40_000)
    start, length = likes.indptr[user], np.diff(likes.indptr)[user]
    first = rng.integers(0, length)
    second = (first + rng.integers(1, length)) % length
    together = np.column_stack([likes.indices[start + first], likes.indices[start + second]])
    apart = rng.choice(item, together.shape)

    often = np.flatnonzero(np.asarray(likes.sum(0)).ravel() >= 5)
    by_item = normalize(likes.T.tocsr()[often])
    alike = (by_item @ by_item.T).toarray()
    np.fill_diagonal(alike, -1)
    close = np.column_stack([np.repeat(often, 10), often[np.argsort(-alike, axis=1)[:, :10]].ravel()])

    def auc(same: Any, other: Any) -> float:
        cosine = [(vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(1) for pairs in (same, other)]
        return float(roc_auc_score(np.repeat([1, 0], [len(same), len(other)]), np.concatenate(cosine)))

    return auc(together, apart), auc(close, rng.choice(often, close.shape))


class Memory:
    """The most this process holds inside, above what it held before, in MB."""

    def __enter__(self) -> Memory:
        import psutil

        self._process, self._over = psutil.Process(), threading.Event()
        self._before = self._most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._most = max(self._most, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def most(self) -> float:
        return (self._most - self._before) / 1e6


if __name__ == "__main__":
    main()
