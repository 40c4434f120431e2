"""What hangs on an entry of the workspace: it goes with it, or keeps it from being deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .entries import DatasetEntry, Entry, RunEntry
from .files import read_json_cached

if TYPE_CHECKING:
    from .workspace import Workspace

ACTIVE = ("queued", "running")


def dependents_of(workspace: Workspace, entry: Entry) -> list[tuple[str, Entry]]:
    """(kind, entry): runs and studies on a dataset, runs and studies of fusions of a run, exports, bundles and analyses of those runs."""
    runs: list[RunEntry] = []
    if isinstance(entry, DatasetEntry):
        runs = [r for r in workspace.runs() if r.dataset_id == entry.id]
    elif isinstance(entry, RunEntry):
        runs = [r for r in workspace.runs() if r.id != entry.id and mentions(_needed(r.spec.get("params")), entry.id)]
    of = {r.id for r in runs} | ({entry.id} if isinstance(entry, RunEntry) else set())
    found: list[tuple[str, Entry]] = [("run", r) for r in runs]
    found += [("export", e) for e in workspace.exports() if e.run_id in of]
    found += [("bundle", b) for b in workspace.bundles() if b.run_id in of]
    if isinstance(entry, DatasetEntry):
        found += [("study", s) for s in workspace.studies(entry.id)]
    elif isinstance(entry, RunEntry):
        found += [("study", s) for s in workspace.studies() if mentions(s.spec, entry.id)]
    on = entry.id if isinstance(entry, DatasetEntry) else None
    return found + [("analysis", a) for a in workspace.analyses() if of & {*a.runs} or (on and a.dataset_id == on)]


def active_jobs(root: Path, entry_id: str) -> list[dict[str, Any]]:
    """{"state", "title"} of the waiting and running jobs that work with an entry."""
    found = []
    for path in (root / "jobs").iterdir():
        state = read_json_cached(path / "state.json")
        if isinstance(state, dict) and state.get("state") in ACTIVE:
            spec = read_json_cached(path / "spec.json") or {}
            if path.name == entry_id or mentions(spec.get("payload"), entry_id):
                found.append({"state": state["state"], "title": spec.get("title") or path.name})
    return found


def _needed(params: Any) -> Any:
    """The settings without what a model only started from: it has taken over what it needs."""
    if not isinstance(params, dict):
        return params
    return {name: _needed(value) for name, value in params.items() if name != "start_from"}


def mentions(value: Any, wanted: str) -> bool:
    """Whether a nested JSON value holds the text."""
    if isinstance(value, dict):
        return any(mentions(part, wanted) for part in value.values())
    if isinstance(value, list | tuple):
        return any(mentions(part, wanted) for part in value)
    return isinstance(value, str) and wanted in value
