"""The workspace: datasets, runs and exports in one folder on disk, safe for several processes at once.

Opening costs a directory listing; manifests are read when asked for and again only when they change.
"""

from __future__ import annotations

import difflib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import BadInput, NotFound
from .bundles import BundleEntry, Bundles
from .dependents import active_jobs, dependents_of
from .entries import DatasetEntry, Entry, ExportEntry, RunEntry
from .files import (
    clean,
    clean_name,
    move_folder,
    now,
    plain,
    read_json_cached,
    remove_folder,
    size_bytes,
    staged_folder,
    unique_name,
    write_json,
)
from .findings import AnalysisEntry, StudyEntry
from .personas import Personas

KINDS: dict[str, type[Entry]] = {
    "datasets": DatasetEntry,
    "runs": RunEntry,
    "exports": ExportEntry,
    "studies": StudyEntry,
    "analyses": AnalysisEntry,
    "bundles": BundleEntry,
}
SINGULAR = dict(zip(KINDS, ("dataset", "run", "export", "study", "analysis", "bundle"), strict=True))
_cleaned: set[Path] = set()


class Workspace(Bundles, Personas):
    """root: a folder, made if need be; default: RECSYS_WORKSPACE, else ./workspace."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("RECSYS_WORKSPACE") or "workspace").expanduser().resolve()
        try:
            for kind in (*KINDS, "jobs"):
                (self.root / kind).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"The workspace folder '{self.root}' cannot be written: {error.strerror}.", "Set RECSYS_WORKSPACE to another."
            ) from None
        if self.root not in _cleaned:
            _cleaned.add(self.root)
            for kind in (*KINDS, "jobs"):
                clean(self.root / kind)

    def __repr__(self) -> str:
        return f"Workspace({str(self.root)!r})"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time changes names, settings or what exists."""
        from filelock import FileLock

        with FileLock(str(self.root / ".lock"), timeout=60):
            yield

    # ---- datasets --------------------------------------------------------------------------------
    def add_dataset(
        self, result: Any, name: str = "", *, report: Any = None, rejects_path: str | Path | None = None, plan: Any = None
    ) -> DatasetEntry:
        """Save an IngestResult or a Dataset under a name (made unique).

        The id is the hash of the content: data that is already here is not saved again; its entry comes
        back with `already` True and keeps its name.
        """
        import shutil
        from dataclasses import replace

        from ..data.dataset import Dataset
        from ..data.storage import save_dataset

        if isinstance(result, Dataset):
            data = result
        else:
            data = result.dataset
            report = result.report if report is None else report
            rejects_path = result.rejects_path if rejects_path is None else rejects_path
            plan = getattr(result, "plan", None) if plan is None else plan
        wanted = clean_name(name or data.name or "dataset", what="dataset name")
        target = self.root / "datasets" / data.fingerprint
        if (target / "manifest.json").exists():
            return DatasetEntry(target, read_json_cached(target / "manifest.json"), already=True)
        with staged_folder(target) as folder:
            save_dataset(replace(data, name=wanted), folder)
            write_json(folder / "ingest.json", {"report": plain(report), "plan": plain(plan)})
            if rejects_path and Path(rejects_path).exists():
                shutil.copyfile(rejects_path, folder / ("rejects" + "".join(Path(rejects_path).suffixes[-2:])))
            manifest = {"stats": data.stats.as_dict(), "feedback": data.feedback, "threshold": data.threshold, "meta": data.meta}
            already = not self.publish(folder, target, wanted, manifest)
        return DatasetEntry(target, read_json_cached(target / "manifest.json"), already=already)

    def datasets(self) -> list[DatasetEntry]:
        """All, newest first."""
        return self._all("datasets")

    def dataset(self, id_or_name: str) -> DatasetEntry:
        """By id, name, or the first 6 or more characters of an id."""
        return self._find("datasets", id_or_name)

    def add_test(self, dataset: str, result: Any, name: str = "") -> dict[str, Any]:
        """Save an IngestResult or a Dataset as a test file of a dataset; its manifest, with what became of its
        rows. The same content is saved once."""
        import shutil

        from ..data.dataset import Dataset
        from ..data.storage import save_dataset

        data = result if isinstance(result, Dataset) else result.dataset
        target = self.dataset(dataset).path / "tests" / data.fingerprint
        if not (target / "manifest.json").exists():
            with staged_folder(target) as folder:
                save_dataset(data, folder, tables=False)
                about = {"id": data.fingerprint, "name": clean_name(name or data.name or "test file"), "created": now()}
                report, rejects = getattr(result, "report", None), getattr(result, "rejects_path", None)
                parts = ("read", "kept", "merged", "filtered", "rejected") if report is not None else ()
                rows = {part: int(getattr(report, f"rows_{part}")) for part in parts}
                if rejects and Path(rejects).exists():
                    shutil.copyfile(rejects, folder / ("rejects" + "".join(Path(rejects).suffixes[-2:])))
                write_json(folder / "manifest.json", about | {"stats": data.stats.as_dict(), "rows": rows})
        return read_json_cached(target / "manifest.json")

    # ---- runs and exports ------------------------------------------------------------------------
    def runs(self, dataset: str | None = None) -> list[RunEntry]:
        """All finished runs, newest first; of one dataset (id or name) when given."""
        found = self._all("runs")
        if dataset is None:
            return found
        wanted = self.dataset(dataset).id
        return [run for run in found if run.dataset_id == wanted]

    def run(self, id_or_name: str) -> RunEntry:
        """By id, name, or the first 6 or more characters of an id."""
        return self._find("runs", id_or_name)

    def has_run(self, run_id: str) -> bool:
        return (self.root / "runs" / run_id / "manifest.json").exists()

    def run_folder(self, run_id: str) -> Path:
        """Where a run is kept, whether or not it is there yet."""
        return self.root / "runs" / run_id

    def exports(self, run: str | None = None) -> list[ExportEntry]:
        """All exports, newest first; of one run (id) when given."""
        return [e for e in self._all("exports") if run is None or e.run_id == run]

    def export(self, id_or_name: str) -> ExportEntry:
        return self._find("exports", id_or_name)

    # ---- studies and analyses --------------------------------------------------------------------
    def studies(self, dataset: str | None = None) -> list[StudyEntry]:
        """All searches for settings, newest first; of one dataset (id) when given."""
        return [s for s in self._all("studies") if dataset is None or s.dataset_id == dataset]

    def study(self, id_or_name: str) -> StudyEntry:
        return self._find("studies", id_or_name)

    def analyses(self, kind: str | None = None, *, run: str | None = None, dataset: str | None = None) -> list[AnalysisEntry]:
        """All analyses, newest first; of one kind, about one run (id), of one dataset (id)."""
        found = [a for a in self._all("analyses") if kind is None or a.kind == kind]
        return [a for a in found if (run is None or run in a.runs) and (dataset is None or a.dataset_id == dataset)]

    def analysis(self, id_or_name: str) -> AnalysisEntry:
        return self._find("analyses", id_or_name)

    def add_analysis(
        self,
        kind: str,
        result: dict[str, Any],
        *,
        runs: list[str],
        dataset: str = "",
        payload: dict[str, Any] | None = None,
        name: str = "",
        analysis_id: str = "",
        write: Callable[[Path], None] | None = None,
    ) -> AnalysisEntry:
        """Keep the result of an analysis. write(folder): saves arrays beside it. analysis_id: a content hash; what is there
        under it stays."""
        target = self.root / "analyses" / (analysis_id or f"{time.time_ns() // 1_000_000:x}{uuid.uuid4().hex[:5]}")
        with staged_folder(target) as folder:
            write_json(folder / "result.json", result)
            if write is not None:
                write(folder)
            manifest = {"kind": kind, "runs": runs, "dataset": dataset, "payload": payload or {}}
            self.publish(folder, target, name or kind.capitalize(), manifest)
        return AnalysisEntry.open(target)

    def publish(self, folder: Path, target: Path, name: str, manifest: dict[str, Any]) -> bool:
        """Give a finished folder its manifest, with a name that is unique among its kind, and put it in its
        place; False when there is one already, which then stays."""
        with self.locked():
            unique = unique_name(clean_name(name), (e.name for e in self._all(target.parent.name)))
            write_json(folder / "manifest.json", {"id": target.name, "created": now()} | manifest | {"name": unique})
            return move_folder(folder, target)

    # ---- any of them -----------------------------------------------------------------------------
    def find(self, id_or_name: str) -> Entry:
        """A dataset, run, export, study, analysis or bundle by id or name."""
        for kind in KINDS:
            try:
                return self._find(kind, id_or_name)
            except NotFound:
                continue
        raise NotFound(f"There is no dataset, run, export, study, analysis or bundle '{id_or_name}'.")

    def rename(self, id_or_name: str, name: str) -> str:
        """Give another name; returns it as stored (made unique among its kind)."""
        entry = self.find(id_or_name)
        with self.locked():
            others = (e.name for e in self._all(entry.path.parent.name) if e.id != entry.id)
            stored = unique_name(clean_name(name), others)
            write_json(entry.path / "manifest.json", entry.manifest | {"name": stored})
        return stored

    def dependents(self, id_or_name: str) -> list[str]:
        """What would be deleted too or stopped working, in words: "run 'EASE'", "export '…'", "running job '…'"."""
        entry = self.find(id_or_name)
        names = [f"{kind} '{e.name}'" for kind, e in dependents_of(self, entry)]
        return names + [f"{job['state']} job '{job['title']}'" for job in active_jobs(self.root, entry.id)]

    def delete(self, id_or_name: str, *, with_dependents: bool = False) -> list[str]:
        """Delete a dataset, run or export. Raises BadInput naming what depends on it, unless
        `with_dependents`; always while a job works with it. Returns what was deleted, in words."""
        entry = self.find(id_or_name)
        jobs = active_jobs(self.root, entry.id)
        if jobs:
            raise BadInput(f"'{entry.name}' is used by the {jobs[0]['state']} job '{jobs[0]['title']}'.", "Cancel the job first.")
        dependents = dependents_of(self, entry)
        if dependents and not with_dependents:
            listed = ", ".join(f"{kind} '{e.name}'" for kind, e in dependents[:5]) + (
                f" and {len(dependents) - 5} more" if len(dependents) > 5 else ""
            )
            raise BadInput(f"'{entry.name}' cannot be deleted alone: {listed} depend on it.", "Delete it together with them.")
        doomed = [*dependents, (SINGULAR[entry.path.parent.name], entry)]
        with self.locked():
            for path in (*(one.path for _, one in doomed), *(self.root / "cache").glob(f"*/{entry.id}")):  # figures of a dataset's users
                remove_folder(path)
        return [f"{kind} '{e.name}'" for kind, e in doomed]

    def disk_use(self) -> dict[str, int]:
        """Bytes by kind: {"datasets", "runs", "exports", "studies", "analyses", "bundles", "jobs", "cache", "total"}."""
        use = {kind: size_bytes(self.root / kind) for kind in (*KINDS, "jobs", "cache")}
        return use | {"total": sum(use.values())}

    # ---- settings --------------------------------------------------------------------------------
    def settings(self) -> dict[str, Any]:
        return dict(read_json_cached(self.root / "settings.json") or {})

    def set_setting(self, name: str, value: Any) -> None:
        with self.locked():
            write_json(self.root / "settings.json", self.settings() | {name: value})

    # ---- inside ----------------------------------------------------------------------------------
    def _all(self, kind: str) -> list[Any]:
        found = []
        for path in (self.root / kind).iterdir():
            manifest = None if path.name.startswith(".") else read_json_cached(path / "manifest.json")
            if isinstance(manifest, dict) and manifest.get("id") == path.name:
                found.append(KINDS[kind](path, manifest))
        return sorted(found, key=lambda e: (e.created, e.id), reverse=True)

    def _find(self, kind: str, wanted: str) -> Any:
        wanted, entries = str(wanted).strip(), self._all(kind)
        tests: tuple[Callable[[Entry], bool], ...] = (
            lambda e: e.id == wanted,
            lambda e: e.name == wanted,
            lambda e: e.name.casefold() == wanted.casefold(),
            lambda e: len(wanted) >= 6 and e.id.startswith(wanted),
        )
        for test in tests:
            hits = [e for e in entries if test(e)]
            if hits:
                return hits[0]
        close = difflib.get_close_matches(wanted, [e.name for e in entries], n=1)
        there = f"There are: {', '.join(e.name for e in entries[:8])}." if entries else "There are none yet."
        known = f"Did you mean '{close[0]}'?" if close else there
        raise NotFound(f"There is no {SINGULAR[kind]} '{wanted}' in this workspace.", known)
