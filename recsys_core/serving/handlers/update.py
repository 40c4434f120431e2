"""Take what happened since training into a newer bundle. payload: bundle (id of the one that was served), events (path of a log)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ...context import RunContext
from ...jobs.handlers._base import Handler
from ...store.workspace import Workspace


class Update(Handler):
    """Gives {"bundle": id of the newer one, "sentence": what became of the events}. The bundle that was given stays."""

    key = "update"
    label = "Take new events in"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...store.files import staged_folder
        from ..live.event_log import tail_of
        from ..updating import events_of, update_run

        served = workspace.bundle(payload["bundle"])
        run = workspace.run(served.run_id)
        events, until = events_of(Path(payload["events"]))
        request = served.request
        tail = tail_of(payload["events"], until)
        target = workspace.bundle_folder(hashlib.sha256(f"{served.id} {payload['events']} {until} {tail}".encode()).hexdigest()[:16])
        if not (target / "manifest.json").exists():
            with staged_folder(target) as folder:
                made = update_run(
                    run, events, folder / "bundle.zip", until=until, tail=tail, codec=_codec(served.manifest),
                    with_users=request.get("with_users", True), columns=request.get("columns"), licence=request.get("licence", ""), ctx=ctx,
                )  # fmt: skip
                about = {
                    "run": run.id,
                    "run_name": run.name,
                    "dataset": run.dataset_id,
                    "request": request,
                    "fingerprint": made.fingerprint,
                    "variant": made.manifest["codec"],
                    "model": made.manifest["model"] | {"params": {}},
                    "updated": made.manifest["updated"],
                    "report": {},
                    "bytes": (folder / "bundle.zip").stat().st_size,
                }
                workspace.publish(
                    folder, target, f"{run.name}, with {made.taken.taken:,} newer event{'' if made.taken.taken == 1 else 's'}", about
                )
        updated = workspace.bundle(target.name).manifest.get("updated", {})
        return {"bundle": target.name, "sentence": updated.get("sentence", "")}


def _codec(manifest: dict[str, Any]) -> str:
    """How the numbers of the served bundle are kept: the newer one keeps them alike. What was pruned is not pruned again."""
    shipped = str(manifest.get("variant", ""))
    return next((codec for codec in ("int8", "float16") if shipped.startswith(codec)), "float32")
