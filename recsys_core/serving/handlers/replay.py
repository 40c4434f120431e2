"""Replay the held-out events of a run. payload: run (id), k, per_second (null: as fast as it goes), most (events at most)."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from ...context import RunContext
from ...jobs.handlers._base import Handler
from ...store.workspace import Workspace


class Replay(Handler):
    """Gives {"analysis": id}; its result.json is `replay.result_of`, with the run. While it goes on, every line of progress carries the
    shares of hits so far. Nothing it does reaches a service or a log of the workspace."""

    key = "replay"
    label = "Replay held-out events"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ...portable.bundle import Bundle
        from ..bundle import write_bundle
        from ..live.event_log import EventLog
        from ..replay import events_of, replay, result_of

        started = time.perf_counter()
        run = workspace.run(payload["run"])
        with tempfile.TemporaryDirectory(prefix="recsys-replay-") as place:
            ctx.report("Reading the model", 0.0)
            write_bundle(run.model(), Path(place) / "bundle.zip")
            bundle = Bundle.open(Path(place) / "bundle.zip")
            events = events_of(run, bundle, most=int(payload.get("most") or 20_000))
            log = EventLog(Path(place) / "events.log")
            played = replay(bundle, events, k=int(payload.get("k") or 10), log=log, per_second=payload.get("per_second"), ctx=ctx)
            log.close()
        result = result_of(played) | {"run": run.id, "run_name": run.name, "seconds": time.perf_counter() - started}
        entry = workspace.add_analysis("replay", result, runs=[run.id], dataset=run.dataset_id, payload=payload, name=f"Replay: {run.name}")
        return {"analysis": entry.id}
