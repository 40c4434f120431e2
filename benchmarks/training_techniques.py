"""What did each training technique buy: CPU seconds to the same validation NDCG@20, best NDCG@20, peak memory.

    python -m benchmarks.training_techniques [--only catalogue] [--seeds 42] [--seconds 20] [--markdown table.md] [--json figures.json]

One change at a time against the first row of each table, which is plain: index batches, negatives drawn uniformly,
one constant learning rate, Adam (in the catalogue Adagrad), float32. The goal is 98 % of what that row reaches at best.
ml-100k: the training file, a fifth of it cut for validation (the test file is not opened); catalogue and sequences:
synthetic. Each run is a process of its own with one thread and at most --seconds of CPU; the seconds are those of
learning, without the validations between. Memory is the rise of the process's peak over what it held before. One seed
by default: differences of a few per cent in time or .005 in NDCG are chance. Some eight minutes of CPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

import numpy as np

from benchmarks import _technique_trials as trials
from recsys_core.context import Progress, RunContext
from recsys_core.errors import Cancelled, WorkbenchError

SHARE_OF_BEST = 0.98
PLAIN = {"learning_rate": 0.003, "averaging": 0.0, "precision": "float32", "patience": 10}
GMF = PLAIN | {"epochs": 80, "negatives": 128}
PAIRS = GMF | {"weight_decay": 1e-5, "negatives": 4}  # a choice against its own negatives: more steps a pass, each with the decay
CATALOGUE = PLAIN | {"epochs": 5, "batch_size": 64, "optimizer": "adagrad", "learning_rate": 0.1, "factors": 32, "weight_decay": 0.0}
SASREC = PLAIN | {"epochs": 45, "patience": 0, "dim": 32, "max_len": 30, "batch_size": 32, "popularity": 0.0}


@dataclass(frozen=True)
class Variant:
    """group: its data. trial: how the model is built, a name in `_technique_trials`. values: its parameters.

    passes: when set, only so many are measured and the rest is reckoned from `like`, which learns the same step by step.
    """

    group: str
    name: str
    values: dict[str, Any] = field(default_factory=dict)
    trial: str = "gmf"
    processes: int = 1
    passes: int = 0
    like: str = ""


def variants() -> list[Variant]:
    def gmf(name: str, **values: Any) -> Variant:
        return Variant("ml-100k", name, GMF | values)

    def pairs(name: str, loss: str, trial: str = "gmf", **values: Any) -> Variant:
        return Variant("ml-100k", name, PAIRS | {"loss": loss} | values, trial)

    bce = pairs("BCE, 4 negatives a choice", "bce")
    return [
        gmf("plain: softmax against 128 shared uniform negatives"),
        gmf("negatives by popularity^.75", sampler="popularity"),
        Variant("ml-100k", "negatives by popularity^.75, no logQ correction", GMF | {"sampler": "popularity"}, "no_log_q"),
        gmf("negatives in-batch", sampler="in_batch"),
        gmf("negatives mixed", sampler="mixed"),
        gmf("negatives hard (best of 4 ×)", sampler="hard"),
        gmf("full softmax", negatives=100_000),
        bce,
        Variant("ml-100k", "BCE, DataLoader of row tuples", bce.values, "row_tuples", passes=2, like=bce.name),
        pairs("BPR, 4 negatives a choice", "bpr"),
        pairs("BPR, 4 hard negatives a choice", "bpr", sampler="hard"),
        pairs("gBCE, 4 negatives a choice", "bce", "gbce"),
        pairs("cosine contrastive, 16 negatives a choice", "bce", "cosine", negatives=16, learning_rate=0.01, weight_decay=0.0),
        gmf("AdamW", optimizer="adamw", weight_decay=0.02),
        gmf("Adagrad", optimizer="adagrad", learning_rate=0.1),
        gmf("SGD", optimizer="sgd", learning_rate=1.0),
        gmf("learning rate found", find_learning_rate=True),
        gmf("warm-up and cosine", schedule="cosine", warmup=2.0, schedule_epochs=60, epochs=60, learning_rate=0.006),
        gmf("plateau", schedule="plateau", learning_rate=0.006),
        gmf("clipping at 1", clip_norm=1.0),
        gmf("a quarter of the batch, 4 accumulated", batch_size=12, accumulate=4),
        gmf("moving average of the weights (EMA)", averaging=0.99),
        gmf("average of the last passes (SWA)", swa_from=0.5, schedule_epochs=60),
        gmf("bfloat16", precision="bfloat16"),
        gmf("torch.compile", compile=True),
        Variant("ml-100k", "two processes", GMF, processes=2),
        Variant("catalogue", "plain: Adagrad on all rows of the tables", CATALOGUE),
        Variant("catalogue", "Adagrad, lazy updates", CATALOGUE | {"lazy_updates": True}),
        Variant("catalogue", "Adam on all rows", CATALOGUE | {"optimizer": "adam", "learning_rate": 0.01}),
        Variant("catalogue", "Adam, lazy updates", CATALOGUE | {"optimizer": "adam", "learning_rate": 0.01, "lazy_updates": True}),
        Variant("sequences", "plain: full softmax", SASREC | {"loss": "full_softmax"}, "sasrec"),
        Variant("sequences", "sampled softmax, 128 shared", SASREC | {"loss": "sampled_softmax", "negatives": 128}, "sasrec"),
        Variant("sequences", "gBCE, 16 negatives a place", SASREC | {"loss": "gbce", "negatives": 16}, "sasrec"),
        Variant("sequences", "BCE, 1 negative a place", SASREC | {"loss": "bce", "negatives": 1}, "sasrec"),
        Variant("sequences", "full softmax, clipping at 1", SASREC | {"loss": "full_softmax", "clip_norm": 1.0}, "sasrec"),
        Variant("sequences", "full softmax, warm-up", SASREC | {"loss": "full_softmax", "warmup": 2.0}, "sasrec"),
        Variant("sequences", "full softmax, bfloat16", SASREC | {"loss": "full_softmax", "precision": "bfloat16"}, "sasrec"),
        Variant("sequences", "full softmax, EMA", SASREC | {"loss": "full_softmax", "averaging": 0.99}, "sasrec"),
    ]


# ---- one run -------------------------------------------------------------------------------------
def cpu() -> float:
    """CPU seconds of this process and of the helpers it has waited for (the C++ compiler)."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def memory(what: str) -> float:
    """MiB of this process now (VmRSS) or at most so far (VmHWM)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(what)) / 1024


def measure(variant: Variant, data: trials.Data, seed: int, seconds: float) -> dict[str, Any]:
    """Fit and note at each pass's end the CPU seconds spent on learning so far, and the NDCG."""
    model = trials.build(variant.trial, variant.values | ({"epochs": variant.passes} if variant.passes else {}))
    curve: list[tuple[float, float]] = []
    validating = 0.0
    score = model._validation_score

    def timed(validation: Any) -> float:
        nonlocal validating
        begin = cpu()
        value = score(validation)
        validating += cpu() - begin
        return value

    def tick(progress: Progress) -> None:
        if "ndcg@20" in progress.metrics and not progress.message:  # with a message: news from inside a pass
            curve.append((cpu() - start - validating, progress.metrics["ndcg@20"]))

    model._validation_score = timed
    before = memory("VmRSS")
    start, clock = cpu(), time.monotonic()
    alone = "WORLD_SIZE" not in os.environ  # of several processes none may stop by its own clock
    ctx = RunContext(seed=seed, threads=1, on_progress=tick, cancelled=lambda: alone and cpu() - start - validating > seconds)
    problem = ""
    try:
        model.fit(data.train, ctx, validation=data.validation)
    except Cancelled:
        problem = f"stopped after {seconds:g} s"
    except WorkbenchError as error:
        problem = str(error)
    remarks = [note for note in [*model.notes, problem] if note and not note.startswith("Best of")]
    rise = max(memory("VmHWM") - before, 0.0)
    return {"curve": curve, "cpu": cpu() - start, "clock": time.monotonic() - clock, "memory_mib": rise, "remarks": remarks}


def forked(variant: Variant, data: trials.Data, seed: int, seconds: float) -> dict[str, Any]:
    """`measure` in a child: what is imported and read already costs it nothing."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        sender.send(measure(variant, data, seed, seconds))

    child = context.Process(target=work)
    child.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        found = {"curve": [], "cpu": 0.0, "clock": 0.0, "memory_mib": 0.0, "remarks": ["the process ended without a result"]}
    child.join()
    return found


def launched(variant: Variant, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """`measure` in several processes by torch's launcher; CPU seconds of all of them, memory of each."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(variant.processes)]
        command += ["-m", "benchmarks.training_techniques", "--worker", variant.name, "--worker-folder", folder]
        command += ["--seeds", str(seed), "--seconds", str(options.seconds), "--data", str(options.data)]
        done = subprocess.run(command, capture_output=True, text=True)
        found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    if done.returncode or not found:
        errors = [line for line in done.stderr.splitlines() if "Error" in line] or ["no message"]
        return {"curve": [], "cpu": 0.0, "clock": 0.0, "memory_mib": 0.0, "remarks": [f"failed: {errors[0].strip()}"]}
    first, total = found[0], sum(run["cpu"] for run in found)
    factor = total / first["cpu"]
    return first | {"curve": [(seconds * factor, score) for seconds, score in first["curve"]], "cpu": total}


# ---- the table -----------------------------------------------------------------------------------
def reached(curve: list[tuple[float, float]], goal: float) -> float | None:
    return next((seconds for seconds, score in curve if score >= goal), None)


def row(variant: Variant, runs: list[dict[str, Any]], plain: list[dict[str, Any]], like: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds; seconds to the goal only when every seed reached it."""
    times, bests, remarks = [], [], list(dict.fromkeys(r for run in runs for r in run["remarks"]))
    base = []
    for run, first, model in zip(runs, plain, like or runs, strict=True):
        goal = SHARE_OF_BEST * max((score for _, score in first["curve"]), default=1.0)
        base.append(reached(first["curve"], goal))
        curve = run["curve"]
        if like and curve:  # the same steps: as many passes as `like`, each as long as those measured
            each = curve[-1][0] / len(curve)
            curve = [((number + 1) * each, score) for number, (_, score) in enumerate(model["curve"])]
        times.append(reached(curve, goal))
        bests.append(max((score for _, score in curve), default=None))
    if variant.processes > 1:
        clock, alone = (sum(r["clock"] for r in group) / max(1, sum(len(r["curve"]) for r in group)) for group in (runs, plain))
        remarks.append(f"a pass takes {clock:.3f} s by the clock, plain {alone:.3f} s, validation included")
    if variant.values.get("compile"):
        ends = [seconds for seconds, _ in runs[0]["curve"]]
        remarks += [f"{ends[0]:.1f} s to compile and the first pass, then {np.median(np.diff(ends)):.3f} s a pass"] if len(ends) > 1 else []
    if like:
        remarks.append(f"{variant.passes} passes measured, the rest reckoned from '{variant.like}'")
    seconds = None if None in times else float(np.mean(times))
    ratio = seconds / float(np.mean(base)) if seconds is not None and None not in base else None
    passes = float(np.mean([len(run["curve"]) for run in runs]))
    best = None if None in bests else float(np.mean(bests))
    found = {"group": variant.group, "technique": variant.name, "seconds": seconds, "ratio": ratio, "ndcg": best}
    spent = {"passes": passes, "memory_mib": max(run["memory_mib"] for run in runs), "total_cpu": sum(run["cpu"] for run in runs)}
    return found | spent | {"remarks": remarks, "values": variant.values, "curves": [run["curve"] for run in runs]}


HEAD = "| technique | CPU s to the goal | × plain | best NDCG@20 | passes | memory, MiB | remarks |\n|---|---|---|---|---|---|---|"


def line(row: dict[str, Any]) -> str:
    seconds = "not reached" if row["seconds"] is None else f"{row['seconds']:.2f}"
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
    best = "–" if row["ndcg"] is None else f"{row['ndcg']:.4f}"
    cells = [row["technique"], seconds, ratio, best, f"{row['passes']:.0f}", f"{row['memory_mib']:.0f}"]
    return f"| {' | '.join(cells)} | {'; '.join(row['remarks']).replace('|', '/')} |"


def run_group(group: str, options: argparse.Namespace, say: Any) -> list[dict[str, Any]]:
    data = trials.load(group, options.data)
    trials.warm(data)
    say(f"\n### {data.title}\n\n{HEAD}")
    done: dict[str, list[dict[str, Any]]] = {}
    rows = []
    members = [v for v in variants() if v.group == group]
    for variant in members:
        if options.variant and not any(word in variant.name for word in options.variant.split(",")) and variant is not members[0]:
            continue
        if variant.like and variant.like not in done:
            continue
        seeds = [int(seed) for seed in options.seeds.split(",")]
        runs = [
            launched(variant, options, seed) if variant.processes > 1 else forked(variant, data, seed, options.seconds) for seed in seeds
        ]
        done[variant.name] = runs
        rows.append(row(variant, runs, done[members[0].name], done.get(variant.like, [])))
        say(line(rows[-1]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(trials.GROUPS), help="which tables: " + ", ".join(trials.GROUPS))
    parser.add_argument("--variant", default="", help="only techniques whose name holds one of these words, and the plain one")
    parser.add_argument("--seeds", default="42")
    parser.add_argument("--seconds", type=float, default=20.0, help="most CPU seconds of learning of one run")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECSYS_REAL_DATA", "../shared/data")) / "ml-100k")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--worker-folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        variant = next(v for v in variants() if v.name == options.worker)
        found = measure(variant, trials.load(variant.group, options.data), int(options.seeds), options.seconds)
        (options.worker_folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found), encoding="utf-8")
        return
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        print(text, flush=True)

    rows = []
    for group in options.only.split(","):
        if group == "ml-100k" and not (options.data / "train.csv.gz").exists():
            say(f"\nml-100k is not at {options.data}; set RECSYS_REAL_DATA to the folder that holds it.")
        else:
            rows += run_group(group, options, say)
    say(f"\nCPU seconds in all, validations included: {sum(r['total_cpu'] for r in rows):.0f}.")
    if options.markdown:
        options.markdown.write_text("\n".join(said).strip() + "\n", encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
