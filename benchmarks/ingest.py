"""Ingest of a large CSV against DuckDB's bare copy of the same file to Parquet.

Run: python -m benchmarks.ingest [--rows 10000000] [--repeats 3] [--faults 0.0001]
Makes its file (user,item,rating,timestamp) in a temporary folder, then runs both, in turn, each in a
process of its own: `COPY (SELECT * FROM read_csv) TO parquet`, and open, guess, ingest, save (ids
mapped, duplicates merged, rejected rows written, report). Prints one JSON line a run and the ratio of
the medians. Targets: at most 2.5 times the bare copy, peak memory under 3 GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK_ROWS = 1_000_000


def make(path: Path, n_rows: int, faults: float, seed: int = 0) -> None:
    """Power-law users and items, half-star ratings, seconds over 15 years; a share of rows with a bad rating."""
    import pyarrow as pa
    import pyarrow.csv as csv

    rng = np.random.default_rng(seed)
    n_users, n_items = max(10, n_rows // 60), max(10, n_rows // 300)
    with path.open("wb") as file:
        for start in range(0, n_rows, BLOCK_ROWS):
            n = min(BLOCK_ROWS, n_rows - start)
            rating = (rng.integers(1, 11, n) / 2).astype(str).astype(object)
            rating[rng.random(n) < faults] = "n/a"
            table = pa.table(
                {
                    "user": (n_users * rng.random(n) ** 1.5).astype(np.int64) + 1,
                    "item": (n_items * rng.random(n) ** 2.5).astype(np.int64) + 1,
                    "rating": pa.array(rating, pa.string()),
                    "timestamp": rng.integers(1_100_000_000, 1_600_000_000, n),
                }
            )
            csv.write_csv(table, file, csv.WriteOptions(include_header=start == 0, quoting_style="none"))


def bare(path: Path, folder: Path) -> dict:
    """DuckDB's own reader and writer, faults and all left to it."""
    import duckdb

    out = folder / "bare.parquet"
    with duckdb.connect(":memory:") as con:
        con.execute(f"COPY (SELECT * FROM read_csv('{path}')) TO '{out}' (FORMAT parquet)")
    return {"bytes": out.stat().st_size}


def whole(path: Path, folder: Path) -> dict:
    """From the raw file to a saved dataset with its report and rejects."""
    from recsys_core.data.ingest import IngestPlan, guess_columns, ingest, open_source
    from recsys_core.data.storage import save_dataset

    source = open_source(path)
    result = ingest(source, IngestPlan.from_guess(guess_columns(source)), work_dir=folder)
    save_dataset(result.dataset, folder)
    (folder / "ingest.json").write_text(result.report.model_dump_json())
    kept = {name: getattr(result.report, name) for name in ("rows_read", "rows_kept", "rows_merged", "rows_rejected", "users", "items")}
    return kept | {"adds_up": result.report.adds_up}


def child(what: str, path: Path) -> None:
    """One run: JSON of seconds, CPU seconds and peak memory."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        about = {"bare": bare, "ingest": whole}[what](path, Path(folder))
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {"run": what, "seconds": round(seconds, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}
    print(json.dumps(measured | {"peak_gib": round(used.ru_maxrss / 2**20, 2)} | about))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--faults", type=float, default=0.0001, help="share of rows with an unreadable rating")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], Path(asked.child[1]))
        return
    runs: dict[str, list[dict]] = {"bare": [], "ingest": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "interactions.csv")
        make(path, asked.rows, asked.faults)
        print(json.dumps({"rows": asked.rows, "file_mib": round(path.stat().st_size / 2**20)}))
        for _ in range(asked.repeats):
            for what in runs:
                command = [sys.executable, "-m", "benchmarks.ingest", "--child", what, str(path)]
                line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
                print(line, flush=True)
                runs[what].append(json.loads(line))
    middle = {what: {k: statistics.median(r[k] for r in done) for k in ("seconds", "cpu_seconds")} for what, done in runs.items()}
    print(
        json.dumps(
            {
                "ratio_seconds": round(middle["ingest"]["seconds"] / middle["bare"]["seconds"], 2),
                "ratio_cpu_seconds": round(middle["ingest"]["cpu_seconds"] / middle["bare"]["cpu_seconds"], 2),
                "peak_gib": max(r["peak_gib"] for r in runs["ingest"]),
            }
        )
    )


if __name__ == "__main__":
    main()
