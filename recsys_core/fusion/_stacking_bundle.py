"""What a bundle of a stacking fusion holds beside its parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._stacking_inputs import Inputs

LAYERS = {
    "gate.weight": "gate.weight",
    "gate.bias": "gate.bias",
    "in.weight": "correction.layers.0.weight",
    "in.bias": "correction.layers.0.bias",
    "out.weight": "correction.layers.2.weight",
    "out.bias": "correction.layers.2.bias",
}


def arrays_of(inputs: Inputs, learnt: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(matrices, those with a row a training user, settings) of the form "stacking". Trees are kept to the last digit, as flat arrays:
    a threshold that was rounded would send a candidate down another branch."""
    around = inputs.around
    arrays: dict[str, Any] = {"groups": around.groups, "items": around.items}
    arrays |= {f"space.{number}": vectors for number, vectors in enumerate(inputs.spaces)}
    users = {} if around.user_table is None else {"user_table": around.user_table}
    n_networks = len({name.split(".")[1] for name in learnt if name.startswith("network.")})
    for number in range(n_networks):
        arrays |= {f"network.{number}.{to}": np.asarray(learnt[f"network.{number}.{name}"]) for to, name in LAYERS.items()}
    trees = None
    if "trees.leaf" in learnt:
        arrays |= {f"trees.{name}": np.asarray(learnt[f"trees.{name}"]).ravel() for name in ("feature", "threshold", "leaf")}
        trees = {name: float(learnt[f"trees.{name}"]) for name in ("mix", "factor", "base")} | {"n": len(learnt["trees.leaf"])}
    width = 0 if around.user_table is None else around.user_table.shape[1]
    about = {"networks": n_networks, "trees": trees, "scales": inputs.scales, "mean_activity": around.mean_activity, "user_width": width}
    return arrays, users, about
