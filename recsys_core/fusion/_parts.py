"""The parts of a fused model: models named by key and fitted here, or runs that are trained already."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import params as params_module
from .. import registry
from ..context import RunContext
from ..errors import ParamError, Unsupported
from ..models._base import Recommender
from ..params import Params, param

RUN = "run:"  # a part that is an already trained run: "run:<id>"


class FusionParams(Params):
    """What every fused model is told: its parts and their settings."""

    most_parts: ClassVar[int | None] = None  # 1: it is built on one model, and a form asks for that one
    models: list[str] = param(
        ["ease", "als", "item_knn"],
        label="Models to combine",
        help="The models that are combined: keys such as ease, or run:… for a model that is trained already.",
    )
    part_params: dict[str, dict[str, Any]] = param(
        {},
        label="Settings of the models",
        help="Settings of single models, by key; what is not given stays at its default.",
        advanced=True,
    )


def check_parts(chosen: FusionParams, label: str, *, may_choose: bool = False) -> None:
    """Raise ParamError for parts that are missing (unless the fusion may choose its own), repeated, fused themselves or have
    wrong settings."""
    if not chosen.models and not may_choose:
        raise ParamError(f"models for {label} must name at least one model; got none.", "For example: ease, als, item_knn.")
    if len(set(chosen.models)) < len(chosen.models):
        raise ParamError(f"models for {label} must differ; got {', '.join(chosen.models)}.")
    if chosen.most_parts is not None and len(chosen.models) > chosen.most_parts:
        most = "exactly one model" if chosen.most_parts == 1 else f"at most {chosen.most_parts} models"
        raise ParamError(f"models for {label} must name {most}; got {', '.join(chosen.models)}.", "For example: ease.")
    for name, values in chosen.part_params.items():
        if chosen.models and name not in chosen.models:
            raise ParamError(
                f"part_params for {label} names '{name}', which is not among its models.",
                f"Models: {', '.join(chosen.models)}.",
            )
        new_part(name, values, label)
    for name in chosen.models:
        if not name.startswith(RUN):
            new_part(name, {}, label)


def new_part(name: str, values: dict[str, Any], label: str) -> Recommender:
    """An unfitted part. Raises ParamError for a fused model: a fusion of fusions hides who said what."""
    if name.startswith(RUN):
        raise ParamError(f"part_params for {label} cannot change '{name}': it is trained already.")
    cls = registry.get("model", name)
    if cls.family == "Fused":
        raise ParamError(f"models for {label} must not contain {name}, which is a fusion itself.", "Name its models directly.")
    return cls(params_module.build(cls.Params, values, owner=cls.label))


def load_part(ctx: RunContext | None, name: str, which: str) -> Recommender | None:
    """The model of the run "run:<id>" (`which`: "final" or "fit")."""
    if ctx is None or ctx.load_run is None:
        raise Unsupported(f"'{name}' is a run of a workspace, and there is no workspace here.", "Name the model by its key instead.")
    model = ctx.load_run(name.removeprefix(RUN), which)
    if model is not None and model.family == "Fused":
        raise ParamError(f"'{name}' ({model.label}) is a fusion itself and cannot be a part of one.", "Name its models directly.")
    return model
