"""What a run was judged on, read back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..errors import NotFound

if TYPE_CHECKING:
    from .entries import RunEntry


def read_holdout(run: RunEntry, part: str = "") -> Holdout:
    """The test ("") or one of the run's parts, from test.npz or parts.npz. Raises NotFound."""
    if part and part not in run.parts:
        known = ", ".join(run.parts) or "none"
        raise NotFound(f"The run '{run.name}' has no part '{part}'.", f"Its parts: {known}.")
    arrays = {}
    file = run.path / "parts.npz"
    if part and file.exists():
        arrays = _arrays(file, f"{part}.")
    if not arrays:  # the part that drives the headline is kept once, as the test
        arrays = _arrays(run.path / "test.npz", "")
    users, items = run.ids()

    def dataset(prefix: str) -> Dataset | None:
        if f"{prefix}_user" not in arrays:
            return None
        return Dataset(
            users=users,
            items=items,
            user=arrays[f"{prefix}_user"],
            item=arrays[f"{prefix}_item"],
            value=arrays[f"{prefix}_value"],
            time=arrays.get(f"{prefix}_time"),
            feedback=run.manifest.get("feedback", "implicit"),
            threshold=run.manifest.get("threshold"),
        )

    return Holdout(dataset("truth"), dataset("given"), arrays.get("candidates"))


def _arrays(file: Path, prefix: str) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as saved:
        return {name.removeprefix(prefix): saved[name] for name in saved.files if name.startswith(prefix)}
