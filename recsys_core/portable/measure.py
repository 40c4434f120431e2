"""How much memory a bundle takes and how fast it answers, in a process that does nothing else.

python -m recsys_core.portable.measure FILE.zip [--histories HISTORIES.npz] [--lists 500] [--k 20]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .bundle import Bundle
from .history import History

Asked = Sequence[tuple[History, int]]  # a history, and the training code of whose it is, or -1
FIRST = 100  # lists that are answered before memory is looked at
WARM = 10


def save_asked(path: Path, asked: Asked) -> None:
    """Keep histories for another process."""
    lengths = [len(history) for history, _ in asked]
    arrays = {
        "indptr": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "items": np.concatenate([history.items for history, _ in asked]) if asked else np.empty(0, np.int32),
        "values": np.concatenate([history.values for history, _ in asked]) if asked else np.empty(0, np.float32),
        "users": np.array([user for _, user in asked], np.int64),
    }
    if asked and all(history.times is not None for history, _ in asked):
        arrays["times"] = np.concatenate([history.times for history, _ in asked])
    np.savez(path, **arrays)


def read_asked(path: Path) -> list[tuple[History, int]]:
    """What `save_asked` kept."""
    with np.load(path, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    places = [slice(a, b) for a, b in zip(arrays["indptr"][:-1], arrays["indptr"][1:], strict=True)]
    times = arrays.get("times")
    rows = [History(arrays["items"][at], arrays["values"][at], None if times is None else times[at]) for at in places]
    return list(zip(rows, (int(user) for user in arrays["users"]), strict=True))


def own_asked(bundle: Bundle, n: int) -> list[tuple[History, int]]:
    """Histories out of the bundle itself: of its users, else made up of popular items (as many, of 1 to 50 items)."""
    if bundle.has_histories:
        n_users = int(bundle.manifest["data"]["n_users"])
        return [(bundle.history(user), user) for user in range(min(n, n_users))]
    rng, chance = np.random.default_rng(0), bundle.counts.astype(np.float64) + 1e-9
    most = min(50, bundle.n_items)
    sizes = rng.integers(1, most + 1, n)
    return [(History.of(rng.choice(bundle.n_items, size, replace=False, p=chance / chance.sum())), -1) for size in sizes]


def seconds_of(bundle: Bundle, asked: Asked, k: int) -> np.ndarray:
    """(n,): of one list each, as whoever asks for it waits."""
    for history, user in asked[:WARM]:
        bundle.best(history, k, user=user)
    out = np.empty(len(asked))
    for at, (history, user) in enumerate(asked):
        started = time.perf_counter()
        bundle.best(history, k, user=user)
        out[at] = time.perf_counter() - started
    return out


def resident_bytes() -> int:
    """Of this process, the pages of mapped files it touched included; the largest so far where the system does not tell the present."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Memory and speed of a bundle.")
    parser.add_argument("bundle")
    parser.add_argument("--histories")
    parser.add_argument("--lists", type=int, default=500)
    parser.add_argument("--k", type=int, default=20)
    given = parser.parse_args(arguments)
    started = time.perf_counter()
    bundle = Bundle.open(given.bundle)
    opened = time.perf_counter() - started
    asked = read_asked(Path(given.histories)) if given.histories else own_asked(bundle, given.lists)
    for history, user in asked[:FIRST]:
        bundle.best(history, given.k, user=user)
    resident = resident_bytes()
    seconds = seconds_of(bundle, asked, given.k) if asked else np.zeros(1)
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    print(json.dumps({"resident_bytes": resident, "p50_ms": 1e3 * p50, "p99_ms": 1e3 * p99, "lists": len(asked), "open_ms": 1e3 * opened}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
