"""The replay of a run of the workspace: what was asked, its held-out events in order, the bundle that answers, the result that is kept."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ..context import RunContext
from ..data.dataset import Dataset
from ..errors import BadInput, ParamError
from ..jobs.machine import versions
from ..jobs.spec import JobSpec, digest
from ..portable.bundle import Bundle
from ..store.bundles import BundleRequest
from ..store.entries import RunEntry
from ..store.findings import AnalysisEntry
from ..store.workspace import Workspace
from .live.event_log import EventLog
from .replay import Events, replay
from .replay_result import result_of

KIND = "replay"
MOST_EVENTS = 50_000


class ReplaySpec(BaseModel):
    """What to replay. speed: events a second, 0 = as fast as it goes; it changes nothing of the result. most_events: of more, whole users
    are drawn by lot until there are no more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    k: int = 10
    speed: float = 0.0
    half_life_days: float = 30.0
    most_events: int = MOST_EVENTS
    seed: int = 42

    @classmethod
    def make(cls, **values: Any) -> ReplaySpec:
        """Checked, with ParamError in words."""
        try:
            spec = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise ParamError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; got {first.get('input')!r}.") from None
        ranges = {"k": (1, 100), "speed": (0, 1e6), "half_life_days": (0.01, 10_000), "most_events": (100, 1_000_000)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(spec, name) <= high:
                raise ParamError(f"{name} must be from {low:g} to {high:g}; got {getattr(spec, name):g}.")
        return spec

    def analysis_id(self, run: RunEntry) -> str:
        asked = {"kind": KIND, "run": run.id, "trained": run.created} | self.model_dump(mode="json", exclude={"run", "speed"})
        return digest(asked)

    def job(self, run: RunEntry) -> JobSpec:
        """The job that does it; its result: {"analysis": id}."""
        payload = self.model_dump(mode="json") | {"run": run.id, "dataset": run.dataset_id}
        return JobSpec(kind=KIND, payload=payload, title=f"Replay: {run.name}"[:80], key=f"replay-{self.analysis_id(run)}-{self.speed:g}")


def replay_run(workspace: Workspace, spec: ReplaySpec, ctx: RunContext) -> AnalysisEntry:
    """Replay and keep the result as an analysis of the kind "replay". Raises BadInput where there is nothing to replay."""
    started = time.perf_counter()
    run = workspace.run(spec.run)
    ctx.report("Reading the events", 0.0)
    with tempfile.TemporaryDirectory(prefix="recsys-replay-") as folder:
        bundle = _bundle(workspace, run, Path(folder), ctx)
        ctx.report("Reading the events", 0.1)
        events, notes = events_of(run, bundle, spec.most_events, ctx.rng("replay"))
        log = EventLog(Path(folder) / "events.jsonl")
        try:
            part = ctx.part("Replaying", 0.12, 0.98)
            found = replay(bundle, events, log, k=spec.k, speed=spec.speed, half_life_days=spec.half_life_days, ctx=part)
        finally:
            log.close()
    ctx.report("Comparing", 0.99)
    result = result_of(found, spec.k, seed=spec.seed) | {
        "events": len(events),
        "notes": notes,
        "by_time": not any("by chance" in note for note in notes),
        "split_id": run.split_id,
        "code": versions()["recsys_core"],
        "seconds": time.perf_counter() - started,
    }
    about = {"runs": [run.id], "dataset": run.dataset_id, "payload": spec.model_dump(mode="json") | {"run": run.id}}
    return workspace.add_analysis(KIND, result, name=f"Replay of {run.name}", analysis_id=spec.analysis_id(run), **about)


def _bundle(workspace: Workspace, run: RunEntry, folder: Path, ctx: RunContext) -> Bundle:
    """The run's bundle as it is made without choices, if it is there; else one for now. Raises Unsupported where there can be none."""
    made = workspace.bundle_folder(BundleRequest().bundle_id(run.id)) / "bundle.zip"
    if made.exists():
        return Bundle.open(made)
    from .bundle import write_bundle
    from .bundle_about import item_columns

    ctx.report("Loading the model", 0.02)
    model = run.model()
    beside = item_columns(model, None)
    path = folder / "bundle.zip"
    write_bundle(model, path, item_table=beside.table, title_column=beside.title)
    return Bundle.open(path)


def events_of(run: RunEntry, bundle: Bundle, most: int, rng: np.random.Generator) -> tuple[Events, list[str]]:
    """(what was held out, oldest first; sentences on how to read it). Without times in an order drawn by lot."""
    holdout = run.holdout()
    truth, given, notes = holdout.truth, holdout.given, []
    if not len(truth):
        raise BadInput("This result has no held-out events.", "Train with a split that holds some out.")
    users, items = run.ids()
    if len(truth) > most:
        chosen = _some_users(truth, most, rng)
        notes.append(f"Of {len(truth):,} held-out events, those of {int(chosen.sum()):,} users drawn by lot are replayed.")
        truth = truth.subset(chosen[truth.user])
        given = None if given is None else given.subset(chosen[given.user])
    timed = truth.time is not None
    order = np.argsort(truth.time, kind="stable") if timed else rng.permutation(len(truth))
    if not timed:
        notes.append("The data has no times: the order of the events is by chance, so nothing can drift.")
    elif not holdout.comes_after(run.training()):
        notes.append(
            "The split holds events out by chance: training knows some that came after those replayed. For a fair question train with a "
            "split by time."
        )
    times = truth.time[order].astype(np.float64) if timed else 86_400.0 + 60.0 * np.arange(len(truth))
    item_ids = items.decode(truth.item[order]).tolist()
    before: list[tuple[str, str, float, float]] = []
    if given is not None and len(given):
        notes.append(
            "The users are new: the model was not trained on them. Both lists begin with the part of their history they come with."
        )
        at = np.argsort(given.time, kind="stable") if given.time is not None else np.arange(len(given))
        when = given.time[at].astype(np.float64) if given.time is not None else np.zeros(len(given))
        told = (users.decode(given.user[at]).tolist(), items.decode(given.item[at]).tolist(), _values(given)[at].tolist(), when.tolist())
        before = list(zip(*told, strict=True))
    if holdout.candidates is not None:
        notes.append("The split judges lists of some items alone; here they are of all items.")
    values = _values(truth)[order]
    counts, columns = truth.relevant[order], _columns(run, bundle, item_ids)
    if len(np.unique(truth.user)) == len(truth) and not before:
        notes.append("Everybody has one held-out event: there is nothing of their own to learn from before it. A split by time has more.")
    events = Events(users.decode(truth.user[order]).tolist(), item_ids, values, times, counts, before, columns)
    return events, notes


def _values(data: Dataset) -> np.ndarray:
    return np.ones(len(data)) if data.value is None else data.value.astype(np.float64)


def _some_users(truth: Dataset, most: int, rng: np.random.Generator) -> np.ndarray:
    """bool (U,): users by lot, whole, with at most `most` events together (one at least)."""
    counts = np.bincount(truth.user, minlength=truth.n_users)
    order = rng.permutation(np.flatnonzero(counts))
    fits = np.cumsum(counts[order]) <= most
    fits[0] = True
    chosen = np.zeros(truth.n_users, dtype=bool)
    chosen[order[fits]] = True
    return chosen


def _columns(run: RunEntry, bundle: Bundle, items: list[str]) -> dict[str, dict[str, Any]]:
    """Of items the bundle does not know, what the item table says in the bundle's columns."""
    later = {item for item in items if bundle.items.code(item) < 0}
    entry = run.dataset
    table = entry.table("item") if entry is not None and later and bundle.table else None
    if table is None:
        return {}
    names = [name for name in bundle.table if name in table.columns]
    codes = {item: int(code) for item, code in zip(later, entry.ids()[1].encode(list(later)), strict=True) if code >= 0}
    rows = table[names].astype("object").where(table[names].notna(), None)
    return {item: {name: _cell(rows[name].iloc[code]) for name in names} for item, code in codes.items()}


def _cell(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
