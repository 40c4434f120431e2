"""Read a file into a dataset. payload: path, name, plan (IngestPlan), source (options of open_source), upload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ._base import Handler


class Ingest(Handler):
    """Gives {"dataset": id, "already": bool}. The path must be readable by the worker; the plan is what the
    user confirmed, so nothing is guessed again. With "upload": true the file is removed when it was saved."""

    key = "ingest"
    label = "Read a file"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...data.ingest import IngestPlan, ingest, open_source

        path = Path(payload["path"])
        ctx.report("Recognising the file", 0.0)
        source = open_source(path, **payload.get("source", {}))
        plan = IngestPlan(**payload["plan"])
        result = ingest(source, plan, ctx)
        ctx.report("Saving", 0.95)
        entry = workspace.add_dataset(result, payload.get("name") or path.stem, plan=plan)
        if payload.get("upload"):
            path.unlink(missing_ok=True)
        return {"dataset": entry.id, "name": entry.name, "already": entry.already}
