"""Read a raw file into a saved dataset. payload: path, name, file_name, plan, and how to read it (member, encoding, delimiter, header)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ... import params as params_module
from ...context import RunContext
from ...store.workspace import Workspace
from ._base import Handler


class Ingest(Handler):
    """Gives {"dataset": id, "already": bool}: a dataset that is there already is kept as it is."""

    key = "ingest"
    label = "Read a file"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...data.ingest import IngestPlan, ingest, open_source

        plan = params_module.build(IngestPlan, payload["plan"])
        options = {name: payload.get(name) for name in ("member", "encoding", "delimiter", "header")}
        ctx.report("Recognising the file", 0.0)
        source = open_source(Path(payload["path"]), name=payload.get("file_name"), scratch=ctx.workdir, **options)
        result = ingest(source, plan, ctx, work_dir=ctx.workdir)
        ctx.report("Saving", 0.98)
        entry = workspace.add_dataset(result, payload.get("name", ""), plan=plan)
        return {"dataset": entry.id, "already": entry.already}
