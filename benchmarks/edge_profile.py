"""What a machine at the edge needs to answer from a bundle: memory, time a list, size, in a fresh process on one thread.

    python -m benchmarks.edge_profile [--models ease,als,mult_vae,sasrec] [--json figures.json]

MovieLens 100K, the fixed training file, defaults of every model but few passes for networks (what is learnt changes neither size nor
time; no accuracy is claimed). Each bundle is written as fp32, float16 and int8; `python -m recsys_core.portable.measure` opens it in a
process of its own, which imports numpy, and onnxruntime where there is a network, and answers 500 lists of 20 for training users.
Resident memory counts the touched pages of the mapped file too. Times are of each list asked for once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.serving.bundle import write_bundle
from recsys_core.serving.parity import THREADS

DATA = Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data"))
LISTS, CODECS = 500, {"fp32": "float32", "float16": "float16", "int8": "int8"}
FEW = {"mult_vae": {"epochs": 3}, "sasrec": {"epochs": 2}, "recvae": {"epochs": 2}, "gru4rec": {"epochs": 2}, "two_tower": {"epochs": 2}}
ALLOWED_MB = 150


def training() -> Dataset:
    frame = pd.read_csv(DATA / "ml-100k" / "train.csv.gz").set_axis(["user", "item", "value", "time"], axis=1)
    return from_frame(frame.astype({"user": str, "item": str}), value="value", time="time", name="ml-100k")


def profile(bundle: Path) -> dict[str, float]:
    """{"resident_bytes", "p50_ms", "p99_ms", "open_ms"} of a process of its own."""
    environment = dict(os.environ) | dict.fromkeys(THREADS, "1")
    command = [sys.executable, "-m", "recsys_core.portable.measure", str(bundle), "--lists", str(LISTS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="ease,als,mult_vae,sasrec")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    data, found = training(), []
    print(f"{data.n_users:,} users, {data.n_items:,} items, {len(data):,} interactions; {LISTS} lists of 20, one thread\n")
    print("| model | variant | size MB | memory MB | p50 ms | p99 ms | opening ms |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for key in given.models.split(","):
            model = registry.get("model", key)(**FEW.get(key, {})).fit(data, RunContext(threads=1))
            for name, codec in CODECS.items():
                path = Path(folder) / f"{key}-{codec}.zip"
                write_bundle(model, path, codec=codec)
                one = profile(path) | {"model": key, "variant": name, "size_mb": path.stat().st_size / 2**20}
                found.append(one)
                memory = one["resident_bytes"] / 2**20
                figures = f"{one['size_mb']:.1f} | {memory:.0f} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {one['open_ms']:.0f}"
                print(f"| `{key}` | {name} | {figures} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    over = [f"{one['model']} {one['variant']}" for one in found if one["resident_bytes"] > ALLOWED_MB * 2**20]
    print(f"\nOver {ALLOWED_MB} MB: {', '.join(over)}." if over else f"\nAll stay under {ALLOWED_MB} MB.")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
