"""What "Compare a sensible set" trains: cheap to strong, one of each kind, only what the data and the memory allow."""

from __future__ import annotations

from typing import Any

from recsys_core import params as params_module
from recsys_core import registry
from recsys_core.errors import WorkbenchError
from recsys_core.jobs import TrainSpec, fits_in_memory

SENSIBLE = ("popular", "item_knn", "ease", "als", "mult_vae", "weighted")
FUSED = ("ease", "als", "item_knn")


def sensible_specs(
    dataset_id: str, stats: Any, *, effort: str = "balanced", split: str = "random", split_params: dict[str, Any] | None = None, **more: Any
) -> tuple[list[TrainSpec], list[str]]:
    """(specs to submit, sentences on what was left out and why). effort: a preset. `more`: ks, seed, … of every spec."""
    specs, left_out, usable = [], [], []
    for key in SENSIBLE:
        params: dict[str, Any] = {}
        try:
            model = registry.get("model", key)
            described = params_module.preset(model.Params, effort)
            params = {f.name: described[f.name] for f in params_module.fields(model.Params) if described[f.name] != f.default}
            if key == "weighted":
                parts = [part for part in FUSED if part in usable]
                if len(parts) < 2:
                    left_out.append(f"{model.label}: it needs at least two of the models above.")
                    continue
                params |= {"models": parts}
            fits, sentence = fits_in_memory(model, params, stats)
        except WorkbenchError as error:
            left_out.append(str(error))
            continue
        if not fits:
            left_out.append(sentence)
            continue
        usable.append(key)
        specs.append(TrainSpec.make(dataset=dataset_id, split=split, split_params=split_params or {}, model=key, params=params, **more))
    return specs, left_out
