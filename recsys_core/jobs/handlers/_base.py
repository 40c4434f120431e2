"""The contract of a job kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ...context import RunContext
from ...store.workspace import Workspace


class Handler(ABC):
    """Runs in the worker process. A kind is one module named after its `key`, found by the registry."""

    key: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def run(self, payload: dict[str, Any], workspace: Workspace, ctx: RunContext) -> dict[str, Any]:
        """Do the work; the JSON-able result is kept in the job. Raise WorkbenchError for what the user can
        mend. `ctx.workdir` is for checkpoints."""
