"""`update`: a newer bundle of a run that knows what happened since."""

from __future__ import annotations

from pathlib import Path

import typer

from .bundle_options import COLUMN, FLOAT16, ITEMS, LICENCE, OUT, QUANTIZE, RUN, THREADS, USERS, target_of
from .output import JSON_OPTION, ProgressLine, print_json


def register(app: typer.Typer) -> None:
    app.command("update")(update)


def update(
    run: str = RUN,
    events: Path = typer.Option(..., "--events", help="The event log a service wrote."),  # noqa: B008
    out: str = OUT,
    quantize: str | None = QUANTIZE,
    float16: bool = FLOAT16,
    users: bool = USERS,
    items: str | None = ITEMS,
    column: list[str] = COLUMN,
    licence: str = LICENCE,
    threads: int = THREADS,
    json: bool = JSON_OPTION,
) -> None:
    """Take the events since training into a new bundle: nothing is trained again, and a running service takes the file up by itself."""
    from ..context import RunContext
    from ..serving.live.event_log import tail_of
    from ..serving.updating import events_of, update_run
    from ..store.bundles import BundleRequest
    from .list_commands import open_run
    from .read import existing

    BundleRequest.make(quantize=quantize)
    target = target_of(out)
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
