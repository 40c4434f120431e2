"""`personas`: people saved on the page New users, and what recommenders would show them."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import BadInput
from .output import JSON_OPTION, print_json, print_table, say

RUNS = typer.Option([], "--run", help="Write their lists by this run (name or id); may be repeated. Needs --out.")
PERSONAS = typer.Option([], "--persona", help="Only this one, by name or id; may be repeated.")


def register(app: typer.Typer) -> None:
    app.command("personas")(personas)


def personas(
    dataset: str | None = typer.Option(None, "--dataset", help="Only those made with this dataset, by name or id."),
    run: list[str] = RUNS,
    persona: list[str] = PERSONAS,
    k: int = typer.Option(10, "--k", help="Length of the lists."),
    out: str | None = typer.Option(None, "--out", help="The CSV to write: persona,rank,item,title,score,run."),
    json: bool = JSON_OPTION,
) -> None:
    """List the saved personas, or write the lists that runs would show them."""
    from ..store import Workspace

    workspace = Workspace()
    found = [workspace.persona(one) for one in persona] or workspace.personas(dataset)
    if bool(run) != (out is not None):
        raise BadInput("Lists of personas need both --run and --out.", "Give both, or neither to see the personas.")
    if out is None:
        about = [
            {
                "id": one.id,
                "name": one.name,
                "dataset": one.dataset_name,
                "dataset_there": one.dataset_there,
                "answers": one.answers,
                "skipped": list(one.skipped),
                "created": one.created,
            }
            for one in found
        ]
        if json:
            print_json(about)
            return
        rows = [(a["name"], a["id"], a["dataset"] + ("" if a["dataset_there"] else " (deleted)"), len(a["answers"])) for a in about]
        created = [a["created"][:16] for a in about]
        print_table(["name", "id", "dataset", "answers", "created"], [(*row, at) for row, at in zip(rows, created, strict=True)])
        return
    if not 1 <= k <= 1000:
        raise BadInput(f"--k must be from 1 to 1000; got {k}.")
    target = Path(out).expanduser()
    if target.is_dir() or not target.parent.is_dir():
        raise BadInput(f"--out '{out}' cannot be written.", "Name a file in a folder that exists.")
    if not found:
        raise BadInput("There is no persona to make lists for.", "Save one on the page New users.")
    from ..serving.client import ScorerClient
    from ..serving.persona_lists import persona_lists

    lists = persona_lists(ScorerClient(workspace), workspace, run, found, k)
    part = target.with_name(f".{target.name}.part")
    part.write_text(lists.csv(), encoding="utf-8", newline="")
    part.replace(target)
    if json:
        print_json({"file": str(target), "rows": len(lists.frame), "personas": len(found), "notes": lists.notes})
        return
    for note in lists.notes:
        say(note)
    print(f"{len(lists.frame):,} rows for {len(found):,} personas in {target}.")
