"""What a computation gets from the workspace it runs in: trained runs, and a cache of what depends on content alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..context import RunContext
from ..store.workspace import Workspace


def equipped(ctx: RunContext, workspace: Workspace, **more: Any) -> RunContext:
    """The context with `load_run` and `cache` of a workspace. more: other values of the context (seed, ...)."""

    def load_run(run_id: str, which: Any = "final") -> Any:
        return workspace.run(run_id).model(which)

    return replace(ctx, load_run=load_run, cache=workspace.root / "cache", **more)
