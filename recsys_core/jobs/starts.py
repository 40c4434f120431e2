"""Starting from the model of another result: which one is meant, and that it has not seen the users to be judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Unsupported

if TYPE_CHECKING:
    from ..store.workspace import Workspace
    from .spec import TrainSpec

RUN = "run:"


def checked_start(workspace: Workspace, spec: TrainSpec) -> TrainSpec:
    """The spec with the id of the result its parameter `start_from` names. Raises NotFound for one that is not there, Unsupported for
    one of the same dataset that was cut otherwise: it would have learnt from users who are held out now."""
    start = str(spec.params.get("start_from") or "")
    if not start.startswith(RUN):
        return spec
    run = workspace.run(start.removeprefix(RUN))
    if run.spec.get("dataset") == spec.dataset and run.split_id != spec.split_id:
        raise Unsupported(
            f"'{run.name}' was trained on another cut of the same dataset, so it has learnt from users who are to be judged here.",
            "Start from a result of another dataset, or of this very split.",
        )
    return spec.model_copy(update={"params": spec.params | {"start_from": f"{RUN}{run.id}"}})
