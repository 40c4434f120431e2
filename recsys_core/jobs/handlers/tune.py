"""Search for better settings of a model. payload: a TuneSpec."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ..tune_spec import TuneSpec
from ._base import Handler


class Tune(Handler):
    """Gives {"study": id}. Stopped and started again it goes on; given a larger budget too."""

    key = "tune"
    label = "Search for better settings"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ..tuning import tune_in_workspace

        return {"study": tune_in_workspace(workspace, TuneSpec(**payload), ctx).id}
