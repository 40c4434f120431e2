"""Does learning online help: replay a run's held-out events against the frozen model. payload: a ReplaySpec (and dataset)."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...jobs.handlers._base import Handler
from ...store.workspace import Workspace


class Replay(Handler):
    """Gives {"analysis": id}; what its result.json holds: serving/replay_result.py."""

    key = "replay"
    label = "Replay"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ..replay_run import ReplaySpec, replay_run

        asked = {name: value for name, value in payload.items() if name != "dataset"}
        return {"analysis": replay_run(workspace, ReplaySpec.make(**asked), ctx).id}
