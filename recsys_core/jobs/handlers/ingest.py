"""Read a file into a dataset.

payload: path, name, plan (an IngestPlan the user confirmed: nothing is guessed again), file_name (what to
call it in messages), and how to open it: member, encoding, delimiter, header.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ._base import Handler

OPENING = ("member", "encoding", "delimiter", "header")


class Ingest(Handler):
    """Gives {"dataset": id, "name": name, "already": bool}. The path must be readable by the worker."""

    key = "ingest"
    label = "Read a file"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...data.ingest import IngestPlan, ingest, open_source

        path = Path(payload["path"])
        ctx.report("Recognising the file", 0.0)
        source = open_source(path, name=payload.get("file_name"), **{name: payload[name] for name in OPENING if name in payload})
        plan = IngestPlan(**payload["plan"])
        result = ingest(source, plan, ctx)
        ctx.report("Saving", 0.95)
        entry = workspace.add_dataset(result, payload.get("name") or path.stem, plan=plan)
        return {"dataset": entry.id, "name": entry.name, "already": entry.already}
