"""`update`: a newer bundle of a run that knows what happened since."""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import BadInput
from .bundle_command import COLUMN
from .output import JSON_OPTION, ProgressLine, print_json


def register(app: typer.Typer) -> None:
    app.command("update")(update)


def update(
    run: str = typer.Option(..., "--run", help="Folder of a run, or its name in the workspace."),
    events: Path = typer.Option(..., "--events", help="The event log a service wrote."),  # noqa: B008
    out: Path = typer.Option(..., "--out", help="The file to write: FILE.zip."),  # noqa: B008
    quantize: str | None = typer.Option(None, "--quantize", help="int8: whole numbers, a quarter of the size; kept only if lists stay."),
    float16: bool = typer.Option(False, "--float16", help="Numbers of half the length; kept only if lists stay."),
    users: bool = typer.Option(True, "--users/--no-users", help="Take the histories of users along (under hashes of their ids)."),
    items: str | None = typer.Option(None, "--items", help="A table that describes the items, for a run made from files."),
    column: list[str] = COLUMN,
    licence: str = typer.Option("", "--licence", help="What whoever gets the file may do with it."),
    threads: int = typer.Option(1, "--threads", help="CPU threads; 0 = all."),
    json: bool = JSON_OPTION,
) -> None:
    """Take the events since training into a new bundle: nothing is trained again, and a running service takes the file up by itself."""
    from ..context import RunContext
    from ..serving.live.event_log import tail_of
    from ..serving.updating import events_of, update_run
    from .list_commands import open_run
    from .read import existing

    if quantize not in (None, "int8"):
        raise BadInput(f"Numbers can be quantised to int8; got '{quantize}'.", "Leave it out, or give int8.")
    target = out.expanduser()
    if target.is_dir() or not target.parent.is_dir():
        raise BadInput(f"--out '{out}' cannot be written.", "Name a file in a folder that exists.")
    happened, until = events_of(events.expanduser())
    progress = ProgressLine(quiet=json)
    codec = "int8" if quantize else "float16" if float16 else "float32"
    try:
        made = update_run(
            open_run(run), happened, target, until=until, tail=tail_of(events.expanduser(), until), codec=codec,
            with_users=users, columns=column or None, licence=licence,
            items_file=existing(items, "item file") if items else None,
            ctx=RunContext(threads=threads, on_progress=progress),
        )  # fmt: skip
    finally:
        progress.done()
    if json:
        print_json({"file": str(target), "fingerprint": made.fingerprint, "updated": made.manifest["updated"]})
        return
    print(made.manifest["updated"]["sentence"])
    print(f"{target}: taken in within {made.seconds:.1f} s. Fingerprint {made.fingerprint}")
