"""`datasets`, `runs`, `export`: what the workspace holds, and lists for the world outside."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import typer

from ..errors import BadInput
from .diversity_command import diversity
from .output import JSON_OPTION, ProgressLine, print_json, print_table, say

RERANK_SET = typer.Option([], "--rerank-set", help="A setting of --rerank, name=value; may be repeated.")


def register(app: typer.Typer) -> None:
    app.command("datasets")(datasets)
    app.command("runs")(runs)
    app.command("export")(export)
    app.command("diversity")(diversity)


def datasets(json: bool = JSON_OPTION) -> None:
    """List the saved datasets."""
    from ..store import Workspace

    entries = Workspace().datasets()
    if json:
        print_json(
            [{"id": e.id, "name": e.name, "created": e.created, "stats": e.manifest["stats"], "size_bytes": e.size_bytes} for e in entries]
        )
        return
    rows = [(e.name, e.id, e.stats.n_users, e.stats.n_items, e.stats.n_interactions, e.created[:16]) for e in entries]
    print_table(["name", "id", "users", "items", "interactions", "created"], rows)


def runs(
    dataset: str | None = typer.Option(None, "--dataset", help="Only runs on this dataset."),
    metric: str = typer.Option("ndcg@20", "--metric", help="Shown, and sorted by."),
    json: bool = JSON_OPTION,
) -> None:
    """List the finished runs, best first."""
    from ..store import Workspace

    entries = Workspace().runs(dataset)
    known = sorted({name for e in entries for name in (*e.metrics, *e.overall)})
    if entries and metric not in known:
        raise BadInput(f"No run has the metric '{metric}'.", f"There are: {', '.join(known)}.")
    value = {e.id: e.metrics.get(metric, {}).get("mean", e.overall.get(metric)) for e in entries}
    entries.sort(key=lambda e: -(value[e.id] if value[e.id] is not None else float("-inf")))
    if json:
        print_json([{"id": e.id, "name": e.name, "spec": e.spec, "metrics": e.metrics, "overall": e.overall} for e in entries])
        return
    names = {d.id: d.name for d in Workspace().datasets()}
    rows = [
        (e.name, e.id, names.get(e.dataset_id, e.dataset_id), e.spec.get("split", ""), value[e.id], e.manifest.get("fit_seconds"))
        for e in entries
    ]
    print_table(["name", "id", "dataset", "split", metric, "fit seconds"], rows)


def export(
    run: str = typer.Option(..., "--run", help="A run of the workspace, by name or id."),
    users: str | None = typer.Option(None, "--users", help="A file of user ids, one a line. Default: all."),
    k: int = typer.Option(20, "--k", help="Length of the lists."),
    include_seen: bool = typer.Option(False, "--include-seen", help="Items a user has had may be on the list."),
    allow: str | None = typer.Option(None, "--allow", help="A file of item ids: only these may appear."),
    deny: str | None = typer.Option(None, "--deny", help="A file of item ids that may not appear."),
    user_columns: str | None = typer.Option(None, "--user-columns", help="Columns of the user table to add, separated by commas."),
    item_columns: str | None = typer.Option(None, "--item-columns", help="Columns of the item table to add, separated by commas."),
    rerank: str | None = typer.Option(None, "--rerank", help="Shape the lists: mmr, dpp, calibrated, rules …; see the command diversity."),
    rerank_set: list[str] = RERANK_SET,
    depth: int = typer.Option(200, "--rerank-depth", help="Candidates a shaped list is chosen from."),
    format: str = typer.Option("csv", "--format", help="csv (safe to open in a spreadsheet) or parquet."),
    name: str = typer.Option("", "--name", help="Name of the export."),
    out: str | None = typer.Option(None, "--out", help="Also copy the file here."),
    json: bool = JSON_OPTION,
) -> None:
    """Write lists of a run into the workspace's exports."""
    from ..context import RunContext
    from ..store import Workspace
    from ..store.export import ExportRequest, export_lists
    from .read import read_user_ids

    workspace = Workspace()
    request = ExportRequest.make(
        k=k,
        users=read_user_ids(users) if users else None,
        exclude_seen=not include_seen,
        allow=read_user_ids(allow) if allow else None,
        deny=read_user_ids(deny) if deny else None,
        user_columns=_names(user_columns),
        item_columns=_names(item_columns),
        rerank=_shape(rerank, rerank_set, depth),
        format=format,
        name=name,
    )
    progress = ProgressLine()
    entry = export_lists(workspace, workspace.run(run), request, RunContext(on_progress=progress))
    progress.done()
    target = Path(out).expanduser() if out else entry.file
    if out:
        shutil.copyfile(entry.file, target)
    if json:
        print_json(
            {
                "export": entry.id,
                "file": str(target),
                "rows": entry.rows,
                "unknown_users": entry.manifest["n_unknown"],
                "notes": entry.manifest["notes"],
            }
        )
        return
    for note in entry.manifest["notes"]:
        say(note)
    print(f"{entry.rows:,} rows in {target}.")


def _shape(method: str | None, settings: list[str], depth: int) -> dict[str, Any] | None:
    """What ExportRequest.rerank takes; the settings are checked before a model is loaded."""
    from ..evaluation.tradeoff import reranker
    from .settings import pairs

    if method is None:
        if settings:
            raise BadInput("--rerank-set goes with --rerank.", "Name the method.")
        return None
    params = reranker(method, pairs(settings, "--rerank-set")).params
    return {"method": method, "params": params.model_dump(mode="json"), "depth": depth}


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
