"""The cold start of runs of the workspace: measure what is not known yet, keep it, compare.

What came of every run is kept in cache/cold_start/<dataset>/ by content: a job that was stopped goes on with the next run, and a
comparison with one run more measures only that one.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from .. import registry
from ..context import Progress, RunContext
from ..errors import BadInput, Cancelled, WorkbenchError
from ..evaluation.cold_start import Measured, Tasks, adapts, make_tasks, measure
from ..evaluation.cold_start_result import One, per_user, result_of
from ..store.entries import RunEntry
from ..store.findings import AnalysisEntry
from ..store.workspace import Workspace
from .cold_start_spec import ColdStartSpec
from .equipped import equipped
from .machine import versions
from .spec import digest


def compare_cold(workspace: Workspace, spec: ColdStartSpec, ctx: RunContext) -> AnalysisEntry:
    """Measure the runs and keep the comparison as an analysis. Raises BadInput where they share no users or hardly any are left."""
    started = time.perf_counter()
    spec = spec.in_ids(workspace)
    runs = [workspace.run(run) for run in spec.runs]
    ctx = equipped(ctx, workspace)
    ctx.report("Reading the users", 0.0)
    tasks = make_tasks(runs[0].holdout(), spec.shots, order=spec.order, draws=spec.draws, seed=spec.seed, most_users=spec.most_users)
    found, missing = [], []
    for number, run in enumerate(runs):
        part = ctx.part(run.name, number / len(runs), (number + 1) / len(runs))
        try:
            found.append(_one(workspace, run, spec, tasks, part))
        except Cancelled:
            raise
        except (WorkbenchError, NotImplementedError) as error:  # its model is gone, or cannot serve new users
            missing.append({"run": run.id, "name": run.name, "why": str(error) or "It cannot serve users it has not met in training."})
    if not found:
        raise BadInput(f"None of the runs could be measured: {missing[0]['why']}", "Choose other runs.")
    ctx.report("Comparing", 0.99)
    about = {"dataset": runs[0].dataset_id, "split_id": runs[0].split_id}
    result = result_of(tasks, found, spec.k, order=spec.order, seed=spec.seed, missing=missing, about=about)
    result["seconds"] = time.perf_counter() - started
    return workspace.add_analysis(
        "cold_start",
        result,
        runs=list(spec.runs),
        dataset=runs[0].dataset_id,
        payload=spec.model_dump(mode="json"),
        name=spec.title,
        analysis_id=spec.analysis_id,
        write=lambda folder: per_user(tasks, found).to_parquet(folder / "per_user.parquet", index=False),
    )


def _one(workspace: Workspace, run: RunEntry, spec: ColdStartSpec, tasks: Tasks, ctx: RunContext) -> One:
    """What is kept of a run, or else what is measured now."""
    cls = registry.get("model", run.model_key)
    asked = spec.model_dump(mode="json", exclude={"runs"}) | {"run": run.id, "trained": run.created, "code": versions()["recsys_core"]}
    file = workspace.root / "cache" / "cold_start" / run.dataset_id / f"{digest(asked)}.npz"
    measured = _read(file, tasks)
    if measured is not None:
        ctx.on_progress(Progress("", 1.0, replayed=True))
    else:
        ctx.report("Reading the recommender", 0.0)
        measured = measure(run.model(), tasks, spec.k, ctx)
        _write(file, measured)
    return One(run.id, run.name, cls.key, cls.label, cls.family, adapts(cls), measured)


def _read(file: Path, tasks: Tasks) -> Measured | None:
    """None where nothing is kept, or nothing that can be read: it is then measured again."""
    try:
        with np.load(file, allow_pickle=False) as saved:
            if saved["figures"].shape[2] != len(tasks.users) or ("own" in saved.files) != (tasks.own is not None):
                return None
            parts = {name: saved[name] if name in saved.files else None for name in ("unadapted", "own")}
            return Measured(saved["figures"], ms=float(saved["ms"]), **parts)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        return None


def _write(file: Path, measured: Measured) -> None:
    """Replaced as a whole, so that a killed process leaves nothing half written under the name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".tmp-{uuid.uuid4().hex[:8]}.npz")
    parts = {name: getattr(measured, name) for name in ("figures", "unadapted", "own")}
    try:
        np.savez_compressed(temporary, ms=measured.ms, **{name: part for name, part in parts.items() if part is not None})
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
