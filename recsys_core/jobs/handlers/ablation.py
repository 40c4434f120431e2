"""What each part of a recommender buys: its variants trained and compared. payload: an AblationSpec."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ..ablation_spec import AblationSpec
from ._base import Handler


class Ablation(Handler):
    """Gives {"analysis": id}; what its result.json holds: jobs/ablation.py. Stopped and started again it goes on."""

    key = "ablation"
    label = "Ablation"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ..ablation import ablate

        return {"analysis": ablate(workspace, AblationSpec.make(**payload), ctx).id}
