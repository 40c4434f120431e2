"""What is lost on the way into a bundle, and what is won: lists, accuracy, scores, size, speed and memory beside the trained model.

A smaller variant is shipped only when it gives the same lists: top-20 overlap at least 0.95 and at most 1 % of NDCG lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..context import RunContext
from ..data.topk import TopK
from ..errors import WorkbenchError
from ..models._base import Recommender
from ..portable.bundle import Bundle, best_of
from ..portable.measure import save_asked
from .bundle_sample import Sample
from .bundle_words import LEAST_OVERLAP, MOST_LOSS

K = 20
WORTH_IT, QUICKER = 0.95, 0.8  # shares of the whole model's size and time above which nothing is saved that is worth a difference
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
MEASURE_SECONDS = 600


@dataclass(frozen=True)
class Parity:
    """One variant beside the trained model. overlap: mean share of the model's list that is in the variant's. ndcg_loss: share of the
    model's NDCG@20 that is lost (below 0: won). score_error: the largest difference of a score, in standard deviations of that user's
    scores. p50_ms, p99_ms: of one list on one thread. memory_mb: resident, of a process that opened it and answered 100 lists. asked: it
    may be shipped; else it is measured to be compared."""

    name: str
    overlap: float
    ndcg: float | None
    ndcg_original: float | None
    ndcg_loss: float | None
    score_error: float
    size_bytes: int
    p50_ms: float
    p99_ms: float
    memory_mb: float
    kept: bool = False
    why: str = ""
    asked: bool = True

    @property
    def same(self) -> bool:
        """Whether it gives the model's lists, near enough to be shipped in its place."""
        return self.overlap >= LEAST_OVERLAP and (self.ndcg_loss or 0.0) <= MOST_LOSS


def measured(name: str, path: Path, sample: Sample, model: Recommender, folder: Path, ctx: RunContext) -> Parity:
    """Open a variant and hold it against the model. folder: for scratch files."""
    top, error = answers(Bundle.open(path), sample, ctx)
    ndcg, original = (sample.figures(lists, model, (sample.k,)).get(f"ndcg@{sample.k}") for lists in (top, sample.top))
    loss = None if ndcg is None or original is None else ((original - ndcg) / original if original else 0.0)
    speed = in_fresh_process(path, sample, folder)
    return Parity(
        name=name,
        overlap=overlap(sample.top.items, top.items),
        ndcg=ndcg,
        ndcg_original=original,
        ndcg_loss=loss,
        score_error=error,
        size_bytes=path.stat().st_size,
        p50_ms=speed["p50_ms"],
        p99_ms=speed["p99_ms"],
        memory_mb=speed["resident_bytes"] / 2**20,
    )


def answers(bundle: Bundle, sample: Sample, ctx: RunContext) -> tuple[TopK, float]:
    """(the bundle's lists of the sample, largest difference of a score in standard deviations of the user's scores)."""
    items, best = np.full((len(sample), sample.k), -1, np.int32), np.full((len(sample), sample.k), np.nan, np.float32)
    worst = 0.0
    for row, (history, user) in enumerate(sample.asked()):
        if row % 50 == 0:
            ctx.report("Comparing lists", row / len(sample))
        scores, wanted = bundle.scores(history, user), sample.scores[row]
        both = np.isfinite(scores) & np.isfinite(wanted)
        if both.any():
            spread = max(float(wanted[both].std()), 1e-12)
            worst = max(worst, float(np.abs(scores[both] - wanted[both]).max()) / spread)
        scores[history.items] = -np.inf
        if sample.allowed is not None:
            scores[~sample.allowed] = -np.inf
        codes, values = best_of(scores, sample.k)
        items[row, : len(codes)], best[row, : len(codes)] = codes, values
    return TopK(sample.codes, items, best), worst


def overlap(wanted: np.ndarray, found: np.ndarray) -> float:
    """Mean over lists of the share of `wanted` that is in `found`; -1 is no item, a list of none counts as whole.

    Shapes: (B, k) both, no item twice in a row.
    """
    n_items = int(max(wanted.max(initial=0), found.max(initial=0))) + 1
    row = np.arange(len(wanted))[:, None] * n_items
    hits = np.isin((row + wanted)[wanted >= 0], (row + found)[found >= 0])
    of = np.broadcast_to(np.arange(len(wanted))[:, None], wanted.shape)[wanted >= 0]
    lengths, common = (wanted >= 0).sum(axis=1), np.bincount(of[hits], minlength=len(wanted))
    return float(np.where(lengths > 0, common / np.maximum(lengths, 1), 1.0).mean()) if len(wanted) else 1.0


def in_fresh_process(path: Path, sample: Sample, folder: Path) -> dict[str, float]:
    """{"resident_bytes", "p50_ms", "p99_ms", …} of a process on one thread that opens the bundle and answers the sample."""
    histories = folder / "histories.npz"
    if not histories.exists():
        save_asked(histories, sample.asked())
    command = [sys.executable, "-m", "recsys_core.portable.measure", str(path), "--histories", str(histories), "--k", str(sample.k)]
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    environment = dict(os.environ) | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=MEASURE_SECONDS, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        raise WorkbenchError(f"The bundle could not be opened in a process of its own ({said}).", "Report this model.")
    return json.loads(done.stdout.splitlines()[-1])


def judged(variants: list[Parity], failed: list[str]) -> tuple[dict[str, Any], str]:
    """(the report, the name of the variant that is shipped): of those that give the model's lists and save something the smallest, or one
    hardly larger with more of the lists; else the whole model.

    variants: the whole model first. failed: sentences about variants that could not be made."""
    whole, smaller = variants[0], variants[1:]
    good = [one for one in smaller if one.asked and one.same and _saves(one, whole)]
    least = min((one.size_bytes for one in good), default=0)
    near = [one for one in good if WORTH_IT * one.size_bytes <= least]
    shipped = max(near, key=lambda one: (one.overlap, -one.size_bytes)) if near else whole
    warnings = list(failed)
    if not whole.same:
        warnings.append(f"The bundle does not give the lists of the trained model: {_said(whole)}. Look at users before you rely on it.")
    refused = [f"{one.name} ({_figures(one)})" for one in smaller if one.asked and not one.same]
    if refused:
        warnings.append(
            f"Not shipped, because the lists would change too much: {'; '.join(refused)}. At least {LEAST_OVERLAP} of the items and "
            f"at most {MOST_LOSS:.0%} of NDCG@{K} lost are asked for; {shipped.name} is shipped."
        )
    rows = [asdict(one) | {"kept": one is shipped, "why": _why(one, shipped, whole)} for one in variants]
    return {"variants": rows, "shipped": shipped.name, "warnings": warnings}, shipped.name


def _saves(one: Parity, whole: Parity) -> bool:
    """Enough bytes or enough time to be worth any difference."""
    return one.size_bytes <= WORTH_IT * whole.size_bytes or one.p50_ms <= QUICKER * whole.p50_ms


def _why(one: Parity, shipped: Parity, whole: Parity) -> str:
    if not one.same and one is not whole:
        return f"Too different: {_figures(one)}."
    if not one.asked:
        return f"Not asked for. It gives the same lists at {one.size_bytes / max(1, whole.size_bytes):.0%} of the size."
    if one is shipped:
        share = f"It gives the same lists at {one.size_bytes / max(1, whole.size_bytes):.0%} of the size."
        return "The numbers as they were learnt." if one is whole else share
    if one is whole:
        return "The numbers as they were learnt; a smaller variant gives the same lists."
    if not _saves(one, whole):
        return "It gives the same lists, but saves next to nothing."
    return f"It gives the same lists, but {shipped.name} saves more or is nearer."


def _said(one: Parity) -> str:
    return f"{_figures(one)}; at least {LEAST_OVERLAP} and at most {MOST_LOSS:.0%} are asked for"


def _figures(one: Parity) -> str:
    loss = "" if one.ndcg_loss is None else f", {max(0.0, one.ndcg_loss):.1%} of NDCG@{K} lost"
    return f"{one.overlap:.3f} of the items the same{loss}"
