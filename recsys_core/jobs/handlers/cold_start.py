"""How far a few items of a new user go with each of several recommenders. payload: a ColdStartSpec."""

from __future__ import annotations

from typing import Any

from ...context import RunContext
from ...store.workspace import Workspace
from ..cold_start_spec import ColdStartSpec
from ._base import Handler


class ColdStart(Handler):
    """Gives {"analysis": id}; what its result.json holds: jobs/cold_start_spec.py. Stopped and started again it goes on."""

    key = "cold_start"
    label = "New users"

    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        from ..cold_start import compare_cold

        return {"analysis": compare_cold(workspace, ColdStartSpec.make(**payload), ctx).id}
