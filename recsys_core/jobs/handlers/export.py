"""Write recommendation lists. payload: run (id), request (ExportRequest)."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ._base import Handler


class Export(Handler):
    """Gives {"export": id, "rows": number of rows}."""

    key = "export"
    label = "Write lists"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...store.export import ExportRequest, export_lists

        ctx.report("Loading the model", 0.0)
        entry = export_lists(workspace, workspace.run(payload["run"]), ExportRequest.make(**payload.get("request", {})), ctx)
        return {"export": entry.id, "rows": entry.rows}
