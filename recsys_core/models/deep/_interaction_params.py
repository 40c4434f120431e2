"""Settings of the models whose score is a network of one user vector and one item vector."""

from __future__ import annotations

from typing import Any, Literal

from ...data.dataset import DatasetStats
from ...params import Params, param
from ._sampling import MOST_NEGATIVES, SampledParams, auto_sampling
from ._training import averaging_param, fold_in_steps_param, learning_rate_param, patience_param

PRODUCT_PAIRS = 2**25  # users × items up to which a product of factors is compared with all items: it is cheap


class InteractionParams(SampledParams):
    """What all of these models share; a model adds the sizes of its network."""

    patience: int = patience_param(12, fast=6, thorough=30)
    learning_rate: float = learning_rate_param(0.005, 1e-3, 2e-2)
    optimizer: Literal["adam", "adamw", "adagrad", "sgd"] = param(
        "adamw",
        label="Optimiser",
        help="How a learning step is made. adamw: as adam, with weight decay apart from the gradient; adagrad: good where "
        "some items are very rare; sgd: plain steps, wants a much larger learning rate.",
        advanced=True,
    )
    averaging: float = averaging_param(0.99)
    weight_decay: float | Literal["auto"] = param(
        "auto",
        ge=0,
        le=10,
        label="Weight decay",
        help="Pulls all weights towards zero; raise it when the validation result falls while the loss still improves. Automatic: by the "
        "number of learning steps in a pass.",
        tune=(0.02, 1.0, "log"),
    )
    dropout: float = param(
        0.3,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the users' and items' numbers switched off at each learning step, against learning by heart.",
        tune=(0.0, 0.6, "linear"),
    )
    loss: Literal["softmax", "bce", "bpr", "mse"] = param(
        "softmax",
        label="What it learns",
        help="softmax: rank what a user chose above all else (best lists). bce: chosen or not, as in the paper. bpr: each choice above "
        "an item nobody chose. mse: predict the rating itself (needs ratings; for rating errors, not for lists).",
    )
    activity_damping: float = param(
        0.5,
        ge=0,
        le=1,
        label="Damping of active users",
        help="How far the say of users with long histories is reduced while learning (softmax only): "
        "0 = each interaction counts alike, 1 = each user.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
    )
    fold_in_steps: int = fold_in_steps_param(20)


def factors_param(label_help: str) -> Any:
    """The field `factors` of a model."""
    return param(
        "auto", ge=1, le=1024, label="Factors", help=f"{label_help} Automatic: by the number of interactions.", tune=(8, 128, "log")
    )


def hidden_param() -> Any:
    """The field `hidden` of a model."""
    return param(
        "auto",
        ge=4,
        le=1024,
        label="Width of the network",
        help="Width of the first layer of the network part; each further layer is half as wide. Automatic: by the number of interactions.",
        tune=(8, 128, "log"),
    )


def layers_param() -> Any:
    """The field `layers` of a model."""
    return param(2, ge=1, le=6, label="Layers", help="Number of layers of the network part.", tune=(1, 4, "linear"))


def auto_negatives(params: Params, stats: DatasetStats, all_items_pairs: int) -> int:
    """Items compared with: all of them where users × items are few, since no draw is as good."""
    softmax = params.loss == "softmax"
    if softmax and params.sampler == "uniform" and stats.n_users * stats.n_items <= all_items_pairs:
        return min(MOST_NEGATIVES, stats.n_items)
    return auto_sampling(params, stats, shared=softmax)["negatives"]
