"""Starting from a model of another dataset: what columns mean for tastes is taken over, ids are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...context import RunContext
from ...data.dataset import Dataset
from ...errors import ParamError, Unsupported
from .._features import SideFeatures
from ..features._m6_inputs import Inputs

if TYPE_CHECKING:
    from ._base import MetaRecommender

RUN = "run:"
SIZES = ("factors", "hidden", "blocks", "encoder", "text_numbers", "features", "text")  # what two networks must share to share weights
ID_TABLES = ("vector_id.", "role_id.", "bias.")


def source_of(ctx: RunContext, name: str, label: str) -> MetaRecommender:
    """The model of "run:<id>". Raises where there is none, or where it is no model that can be started from."""
    if not name.startswith(RUN):
        raise ParamError(f"start_from for {label} must be run: and the id of a result; got '{name}'.")
    if ctx.load_run is None:
        raise Unsupported(f"'{name}' is a result of a workspace, and there is no workspace here.", "Train without start_from.")
    source: Any = ctx.load_run(name.removeprefix(RUN), "final")
    if not hasattr(source, "network") or not getattr(source, "adapts", False):
        raise ParamError(
            f"start_from for {label} must be a model that adapts by itself; got {source.label}.", "For example: first-order MAML."
        )
    if getattr(source, "texts", None) is not None:
        raise Unsupported(
            f"{source.label} trained a layer of a sentence encoder, which cannot be taken over.", "Start from one that did not."
        )
    if not source.inputs.side.encoders:
        raise Unsupported(
            f"{source.label} read no columns there, so there is nothing to take over.", "Start from one trained on data with an item table."
        )
    return source


def taken_inputs(source: MetaRecommender, data: Dataset, counts: np.ndarray, ctx: RunContext) -> tuple[Inputs, list[str]]:
    """This dataset's tables, encoded as the source's are: columns are matched by name. counts: (I,) what each item was learnt from.

    Raises Unsupported where no column of the item table is shared."""
    side, notes = SideFeatures(), []
    for name, encoder in source.inputs.side.encoders.items():
        table = data.user_table if name == "user" else data.item_table
        if table is None:
            continue
        wanted = [field for field, _ in encoder.fields]
        shared, missing = [f for f in wanted if f in table], [f for f in wanted if f not in table]
        if not shared:
            continue
        side.encoders[name], side.tables[name] = encoder, encoder.table(table, ctx)
        side.left_out[name] = {str(c): "The model it starts from does not know it." for c in table if c not in wanted}
        notes.append(f"Columns taken over ({name}): {', '.join(shared)}." + (f" Missing here: {', '.join(missing)}." if missing else ""))
    if "item" not in side.tables:
        columns = (
            ", ".join(field for field, _ in source.inputs.side.encoders["item"].fields) if "item" in source.inputs.side.encoders else "none"
        )
        raise Unsupported(
            f"The item tables share no column with the model to start from, which read: {columns}.",
            "Name the columns alike, or train from scratch.",
        )
    return Inputs(side, {}, counts > 0, data.n_users), notes


def take_over(network: Any, source: Any) -> None:
    """Copy all weights that are about content and people. Ids of this dataset start at nothing, so that its items are what their columns
    say; biases stay what this dataset's counts say."""
    import torch

    theirs, own = source.state_dict(), network.state_dict()
    taken = {k: v for k, v in theirs.items() if k in own and not k.startswith(ID_TABLES) and own[k].shape == v.shape}
    network.load_state_dict(taken, strict=False)
    if network.ids:
        with torch.no_grad():
            network.vector_id.weight.zero_()
            network.role_id.weight.zero_()
