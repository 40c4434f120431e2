"""Does learning online help? Held-out events of MovieLens 100K in order of time, each model learning from them or left as trained.

    python -m benchmarks.replay_online [--models ease,als,item_knn] [--splits global_time,leave_last] [--k 10]

A hit: the film was on the user's list of ten just before they rated it well (as the threshold of the data says), films they had by then
left out of every list alike. online: after every event the next list knows it; frozen: the model and everybody's history as at training;
popular: what is popular just then. Intervals: 95 %, bootstrap over users; the difference is paired by user. Settings are the defaults.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import pandas as pd

from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.jobs import TrainSpec
from recsys_core.jobs.training import train_in_workspace
from recsys_core.serving.replay_run import ReplaySpec, replay_run
from recsys_core.store import Workspace

DATA = Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--models", default="ease,als,item_knn")
    options.add_argument("--splits", default="global_time")
    options.add_argument("--k", type=int, default=10)
    options.add_argument("--threshold", type=float, default=None, help="from this rating on a film is liked; none: every rated film counts")
    given = options.parse_args()
    rows = pd.read_csv(DATA / "ml-100k" / "interactions.csv.gz").set_axis(["user", "item", "value", "time"], axis=1)
    rows = rows.astype({"user": str, "item": str})
    more = {} if given.threshold is None else {"threshold": given.threshold}
    data = from_frame(rows, value="value", time="time", feedback="explicit", **more)
    ctx = RunContext(threads=1)
    print("| split | model | events | online | frozen | difference (points) | popular just then | ms a list | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        entry = workspace.add_dataset(data, "MovieLens 100K")
        for split in given.splits.split(","):
            for model in given.models.split(","):
                run = train_in_workspace(workspace, TrainSpec.make(dataset=entry.id, split=split, model=model), ctx)
                began = time.process_time()
                result = replay_run(workspace, ReplaySpec.make(run=run.id, k=given.k), ctx).result()
                seconds = time.process_time() - began
                rates = [
                    f"{100 * rate['mean']:.2f} % ({100 * rate['low']:.2f} to {100 * rate['high']:.2f})"
                    for rate in (result["rates"][name] for name in ("online", "frozen", "popular"))
                ]
                gap = result["difference"]
                change = f"{100 * gap['difference']:+.2f} ({100 * gap['low']:+.2f} to {100 * gap['high']:+.2f}), {result['helps']}"
                cells = [split, model, f"{result['measured']:,}", rates[0], rates[1], change, rates[2]]
                print("| " + " | ".join([*cells, f"{result['ms']:.2f}", f"{seconds:.0f}"]) + " |", flush=True)
                for sentence in result["verdict"] + result["notes"]:
                    print(f"    {sentence}")


if __name__ == "__main__":
    main()
