"""A study of the workspace: its folder and its processes. The search itself is in `recsys_core/tuning`.

studies/<id>/: manifest.json (spec, space, notes), journal.log (Optuna's own), session.json (of the last start: since when, until
when), trials.json and summary.json (replaced after every trial and pass), log.txt (of further processes), .lock, .main.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import registry
from ..context import RunContext
from ..errors import BadInput
from ..store.files import now, read_json, staged_folder, write_json
from ..store.findings import StudyEntry
from ..store.workspace import Workspace
from ..tuning import Space, make_space, objective_of
from . import tuning_helper as helper
from .memory import RESERVE, available_bytes, needed_bytes, require_memory
from .process import identity, is_alive
from .training import _source
from .tune_spec import TuneSpec
from .tuning_board import Board

if TYPE_CHECKING:
    from ..tuning.study import Search


def tune_in_workspace(workspace: Workspace, spec: TuneSpec, ctx: RunContext) -> StudyEntry:
    """Search, or go on with a search that was stopped, up to the budget of `spec`. Returns the study.

    The data are read once in each process. Trials see the training part of the split only: `Fold.test` is never called.
    Raises BadInput while another process works on the same study. Whatever ends it, the finished trials stay.
    """
    from filelock import FileLock, Timeout

    spec = resolved(workspace, spec)
    ctx = _equipped(workspace, spec, ctx)
    ctx.report("Reading the data", 0.0)
    task, space, notes = prepare(workspace, spec, ctx)
    workers, more = _workers(spec, space)
    folder = _publish(workspace, spec, space, [*notes, *more])
    lock = FileLock(str(folder / ".main"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadInput(f"The search '{spec.title}' is going on already.", "Wait for it, or cancel it first.") from None
    try:
        _session(folder, spec, space, task, ctx, workers)
    finally:
        lock.release()
    return workspace.study(spec.study_id)


def resolved(workspace: Workspace, spec: TuneSpec) -> TuneSpec:
    """With ids in place of the names of the dataset and of runs: what the study's own id is made of."""
    return spec.model_copy(update={"train": spec.train.in_ids(workspace)})


def prepare(workspace: Workspace, spec: TuneSpec, ctx: RunContext) -> tuple[Any, Space, list[str]]:
    """(task, space, notes) of a spec; raises what is wrong with it before anything is fitted."""
    from ..tuning.trial import Task

    model = registry.get("model", spec.train.model)
    objectives = tuple(map(objective_of, spec.objectives))
    params = spec.train.model_params()
    source = _source(workspace, spec.train)
    fold = next(iter(source.folds(ctx)))
    part, validation = fold.validation(model.judged_on_new(params))
    task = Task(model, part, validation, objectives)
    task.require()
    space = make_space(model, spec.train.params, spec.space, part.stats)
    if spec.sampler == "grid":
        space.require_grid()
    if problem := space.problem(space.start):
        raise BadInput(problem)
    notes = [
        f"Every trial was fitted on {len(part):,} interactions and measured on {len(validation.users):,} validation users, "
        "all cut from the training part; the test was not read."
    ]
    if source.n_folds > 1:
        notes.append(f"Of the {source.n_folds} folds only the training part of the first was used.")
    return task, space, [*notes, *space.notes]


def help_with(workspace: Workspace, study_id: str, ctx: RunContext) -> None:
    """What a further process does: the same loop on the same study, with the budget and the end of the session."""
    entry = workspace.study(study_id)
    spec, session = TuneSpec(**entry.spec), read_json(entry.path / "session.json") or {}
    ctx = replace(_equipped(workspace, spec, ctx), threads=int(session["threads"]), device=session["device"])
    task, space, _ = prepare(workspace, spec, ctx)
    board = Board(entry.path, spec, space, task.objectives, session["began"], session["before"], weighs=False)
    _search(entry.path, spec, space, task, board, int(session["memory_bytes"])).loop(spec.n_trials, ctx, session["until"])


def _equipped(workspace: Workspace, spec: TuneSpec, ctx: RunContext) -> RunContext:
    """The seed of the study; for fusions trained runs, each loaded once, and a place for fitted parts."""

    @cache
    def load_run(run_id: str, which: Any = "final") -> Any:
        return workspace.run(run_id).model(which)

    return replace(ctx, seed=spec.train.seed, load_run=load_run, parts={}, cache=workspace.root / "cache")


# ---- one start -----------------------------------------------------------------------------------
def _session(folder: Path, spec: TuneSpec, space: Space, task: Any, ctx: RunContext, workers: int) -> None:
    for rest in folder.glob(".tmp-*"):  # of a process that was killed while it wrote
        rest.unlink(missing_ok=True)
    before = float((read_json(folder / "summary.json") or {}).get("seconds") or 0.0)
    began = time.time()
    until = began + max(0.0, 60 * spec.minutes - before) if spec.minutes else None
    threads = max(1, ctx.n_threads // workers)
    room = int(available_bytes() * (1 - RESERVE) / workers)
    session = {"began": began, "before": before, "until": until, "threads": threads, "device": ctx.device, "memory_bytes": room}
    write_json(folder / "session.json", session)
    board = Board(folder, spec, space, task.objectives, began, before, ctx.on_progress)
    search = _search(folder, spec, space, task, board, room)
    inner = replace(ctx, threads=threads, on_progress=board.hear)
    ctx.check()
    helpers = [helper.spawn(folder, threads) for _ in range(1, workers)]
    try:
        with helper.limited(threads if workers > 1 else 0):
            search.loop(spec.n_trials, inner, until)
            while helper.working(helpers):  # their last trials
                ctx.check()
                board.write(search)
                time.sleep(0.1)
            while search.again() and (until is None or time.time() < until):  # what a process that died left behind
                search.loop(spec.n_trials, inner, until)
    finally:
        helper.stop(helpers)
        died = sum(h.returncode not in (0, helper.STOPPED) for h in helpers)
        if died:
            board.extra.append(f"{died} of {workers} processes ended before their time; the search went on without them.")
        board.write(search, final=True)
    ctx.report("Done", 1.0, board.headline)


def _search(folder: Path, spec: TuneSpec, space: Space, task: Any, board: Board, room: int) -> Search:
    """The search of this process, which has `room` bytes of memory."""
    from ..tuning.study import Search

    who = identity(os.getpid())
    search = Search(folder, space, task, spec.sampler, spec.pruner, spec.train.seed, who, lambda w: bool(w) and is_alive(w))
    search.too_large = lambda params: needed_bytes(space.model, params, space.stats) > room
    search.tell = lambda at_once: board.write(search, at_once=at_once)
    return search


def _publish(workspace: Workspace, spec: TuneSpec, space: Space, notes: list[str]) -> Path:
    """The study's folder with its manifest; of one that is there, what this start may change: budget, processes, notes."""
    target = workspace.root / "studies" / spec.study_id
    facts = {
        "spec": spec.model_dump(mode="json"),
        "space": [d.as_row() for d in space.dimensions],
        "label": space.model.label,
        "family": space.model.family,
        "n_combinations": space.n_combinations if spec.sampler == "grid" else None,
        "notes": notes,
    }
    if not (target / "manifest.json").exists():
        with staged_folder(target) as folder:
            write_json(folder / "trials.json", [])
            workspace.publish(folder, target, spec.title, facts)
    with workspace.locked():
        manifest = read_json(target / "manifest.json") or {}
        write_json(target / "manifest.json", manifest | facts | {"started": now()})
    return target


def _workers(spec: TuneSpec, space: Space) -> tuple[int, list[str]]:
    """How many processes there is memory for; raises TooLarge where there is none for one."""
    params = space.params(space.start)
    require_memory(space.model, params, space.stats)
    room = int(available_bytes() * (1 - RESERVE) // max(1, needed_bytes(space.model, params, space.stats)))
    workers = max(1, min(spec.workers, room))
    if workers == spec.workers:
        return workers, []
    return workers, [f"{workers} instead of {spec.workers} processes worked at once: there is no memory for more."]
