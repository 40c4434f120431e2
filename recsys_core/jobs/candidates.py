"""Deep lists of a run's test users, from which re-ranking chooses; made once, kept beside the run."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace

from ..context import RunContext
from ..data.dataset import Dataset
from ..data.topk import TopK
from ..splitting._base import Split
from ..store.entries import RunEntry
from ..store.files import STAGED, host
from ..store.workspace import Workspace
from .spec import TrainSpec


def ensure_candidates(workspace: Workspace, run: RunEntry, depth: int, ctx: RunContext) -> TopK:
    """Lists `depth` deep (shorter where the catalogue is), without what was seen in training, as those of the run itself.

    Read where they are deep enough already; else the model is loaded once and the file is replaced as a whole.
    """
    from .training import recommend_test

    wanted = min(depth, len(run.ids()[1]))
    kept = run.candidates()
    if kept.k >= wanted:
        return kept.cut(depth)
    ctx.report("Loading the model", 0.0)
    model = run.model()
    split = Split(all_training(workspace, run, ctx), run.holdout())
    ctx.report("Listing candidates", 0.1)
    top = recommend_test(model, split, wanted)
    write_candidates(run, top)
    return top


def write_candidates(run: RunEntry, top: TopK) -> None:
    """candidates.npz, replaced in one step; what a killed process leaves stands beside the run, where the queue clears it away."""
    temporary = run.path.parent / f"{STAGED}{host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.npz"
    try:
        top.save(temporary)
        os.replace(temporary, run.path / "candidates.npz")
    finally:
        temporary.unlink(missing_ok=True)


def all_training(workspace: Workspace, run: RunEntry, ctx: RunContext) -> Dataset:
    """The whole training part of a run: what its test users had, and what its figures are worked out from. That is what the model
    learnt from, except for one not fitted again after validation: then the cut is made once more."""
    if run.spec.get("refit", True):
        return run.training()
    from .training import _source

    spec = TrainSpec(**run.spec)
    fold = next(iter(_source(workspace, spec).folds(replace(ctx, seed=spec.seed))))
    return fold.test().train
