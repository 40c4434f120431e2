"""Starting from a model of another dataset: what columns mean for tastes is taken over, ids are not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...context import RunContext
from ...data.dataset import Dataset
from ...data.features import KINDS, FeatureEncoder, FeatureSet, Guess, guess_schema
from ...data.features.columns import columns_of
from ...errors import ParamError, Unsupported
from .._features import SideFeatures
from .._inputs import Inputs

if TYPE_CHECKING:
    from ._base import MetaRecommender

RUN = "run:"
SIZES = ("factors", "hidden", "blocks", "encoder", "text_numbers", "features", "text")  # what two networks must share to share weights
STEPS = ("inner_steps", "anchor")  # how somebody new adapts: of a model that is taken as it is
ID_TABLES = ("vector_id.", "role_id.", "bias.")


def source_of(ctx: RunContext, params: Any, label: str) -> MetaRecommender:
    """The model that `params.start_from`, "run:<id>", names. Raises where there is none, or where it is none that can be started from."""
    name = params.start_from
    if not name.startswith(RUN):
        raise ParamError(f"start_from for {label} must be run: and the id of a result; got '{name}'.")
    if ctx.load_run is None:
        raise Unsupported(f"'{name}' is a result of a workspace, and there is no workspace here.", "Train without start_from.")
    source: Any = ctx.load_run(name.removeprefix(RUN), "final")
    if not hasattr(source, "network") or not getattr(source, "adapts", False):
        raise ParamError(
            f"start_from for {label} must be a model that adapts by itself; got {source.label}.", "For example: first-order MAML."
        )
    if source.resolved.loss != params.loss:
        raise ParamError(
            f"{label} and the model it starts from must learn the same: loss was {source.resolved.loss} there and is {params.loss} here.",
            f"Set loss to {source.resolved.loss}.",
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


def taken_settings(own: Any, source: MetaRecommender) -> tuple[Any, list[str]]:
    """(the settings with the source's sizes and, taken as it is, its way to adapt; sentences on what that changes)."""
    names = [name for name in (*SIZES, *STEPS * own.as_it_is) if name in type(own).model_fields and hasattr(source.resolved, name)]
    taken = {name: getattr(source.resolved, name) for name in names}
    other = [f"{name} {value}" for name, value in taken.items() if value != getattr(own, name)]
    sizes = source.resolved.inner_rate * source.network.log_rate.detach().exp().cpu().numpy()
    said = [f"Settings taken over: {', '.join(other)}."] if other else []
    said.append(f"The size of an adaptation step begins at what was learnt there: {np.exp(np.log(sizes).mean()):.3g}.")
    return own.with_(**taken), said


def taken_inputs(source: MetaRecommender, data: Dataset, counts: np.ndarray, ctx: RunContext) -> tuple[Inputs, list[str]]:
    """This dataset's tables, encoded as the source's are: columns are matched by name. counts: (I,) what each item was learnt from.

    A column counts where both read it as the same kind: one that is left out of this dataset's features stays out, and a year that is a
    text here is no number. Raises Unsupported where no column of the item table is shared."""
    side, notes, chosen = SideFeatures(), [], data.features or FeatureSet()
    for name, encoder in source.inputs.side.encoders.items():
        table = data.user_table if name == "user" else data.item_table
        if table is None:
            continue
        columns, schema = columns_of(table), chosen.schema(name, guess_schema(table))
        shared, missing, why = _matched(encoder, columns, schema)
        notes += [f"The {name} column '{column}' is not taken over: {reason}" for column, reason in why.items()]
        if not shared:
            continue
        read = pd.DataFrame({column: columns[column] for one in shared for column in one.reads}, index=table.index)
        side.encoders[name], side.tables[name] = encoder, encoder.table(read, ctx)
        known = {one.name for one in encoder.encoders}
        side.left_out[name] = why | {column: "The model it starts from does not know it." for column in schema if column not in known}
        told = f"Columns taken over ({name}): {', '.join(one.name for one in shared)}."
        notes.append(told + (f" Missing here: {', '.join(missing)}." if missing else ""))
    if "item" not in side.tables:
        columns = (
            ", ".join(field for field, _ in source.inputs.side.encoders["item"].fields) if "item" in source.inputs.side.encoders else "none"
        )
        raise Unsupported(
            f"The item tables share no column with the model to start from, which read: {columns}.",
            "Name the columns alike, or train from scratch.",
        )
    return Inputs(side, {}, counts > 0, data.n_users), notes


def _matched(encoder: FeatureEncoder, columns: dict[str, Any], schema: dict[str, Guess]) -> tuple[list[Any], list[str], dict[str, str]]:
    """(fields that are read here too, names that are not there, those that are there and not read -> why)."""
    shared, missing, why = [], [], {}
    for one in encoder.encoders:
        kind = schema[one.name].kind if one.name in schema else None
        if not all(column in columns for column in one.reads):
            missing.append(one.name)
        elif kind == one.kind:
            shared.append(one)
        elif kind is None or kind not in KINDS or kind == "id":
            why[one.name] = "It is left out of this dataset's features."
        else:
            why[one.name] = f"It is read as {KINDS[kind].label.lower()} here and as {KINDS[one.kind].label.lower()} there."
    return shared, missing, why


def take_over(network: Any, own: Any, source: MetaRecommender) -> None:
    """Copy all weights that are about content and people, and the sizes of steps. Ids of this dataset start at nothing, so that its items
    are what their columns say; biases stay what this dataset's counts say. own: the settings of the network."""
    import torch

    theirs, mine = source.network.state_dict(), network.state_dict()
    taken = {k: v for k, v in theirs.items() if k in mine and not k.startswith(ID_TABLES) and mine[k].shape == v.shape}
    network.load_state_dict(taken, strict=False)
    with torch.no_grad():
        # A step has the size inner_rate · exp(log_rate): what is kept is the product, whatever the settings are here.
        sizes = math.log(source.resolved.inner_rate) + source.network.log_rate
        by_name = dict(zip(source.network.adapted, sizes.expand(len(source.network.adapted)), strict=True))
        each = torch.stack([by_name.get(name, sizes.mean()) for name in network.adapted])
        network.log_rate.copy_((each if len(network.log_rate) > 1 else sizes.mean()[None]) - math.log(own.inner_rate))
        if network.ids:
            network.vector_id.weight.zero_()
            network.role_id.weight.zero_()
