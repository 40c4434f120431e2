"""Train one model and keep the run. payload: a TrainSpec."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ..spec import TrainSpec
from ._base import Handler


class Train(Handler):
    """Gives {"run": id}; a run that another process finished meanwhile is kept as it is."""

    key = "train"
    label = "Train a model"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ..training import train_in_workspace

        return {"run": train_in_workspace(workspace, TrainSpec(**payload), ctx).id}
