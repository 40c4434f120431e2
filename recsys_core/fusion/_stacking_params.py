"""The parameters of a stacking fusion."""

from __future__ import annotations

from typing import Literal

from ..params import param
from ._parts import FusionParams


class StackingParams(FusionParams):
    """Which learner, what it sees, and its sizes."""

    learner: Literal["network", "trees"] = param(
        "network",
        label="Learner",
        help="What combines the models. network: weights for each user, and a small correction; trees: gradient-boosted trees.",
    )
    depth: int = param(
        100,
        label="Candidates of each model",
        help="How many of each model's best items may enter a list; more reach more held-out items and take longer.",
        ge=5,
        le=1000,
        tune=(30, 300, "log"),
        fast=50,
    )
    tables: bool = param(
        False,
        label="Use item and user tables",
        help="Also looks at the columns of the item and user tables, where there are any.",
        advanced=True,
    )
    embeddings: bool = param(
        False,
        label="Use the models' own similarities",
        help="Also looks at how near an item is to the user's history in the space of each model that has one, such as ALS.",
        advanced=True,
    )
    hidden: int = param(
        16,
        label="Width of the network",
        help="Numbers in the hidden layer of the correction.",
        ge=1,
        le=512,
        tune=(4, 64, "log"),
        advanced=True,
    )
    epochs: int = param(
        25,
        label="Passes at most",
        help="How often the network may go over the held-out users; the best number up to this is found.",
        ge=1,
        le=1000,
        fast=10,
        thorough=40,
        advanced=True,
    )
    learning_rate: float = param(
        0.003,
        label="Learning rate of the network",
        help="Step size of the network's training.",
        gt=0,
        le=1,
        tune=(5e-4, 2e-2, "log"),
        advanced=True,
    )
    networks: int = param(
        3,
        label="Networks",
        help="How many networks with other chance are averaged; more are steadier.",
        ge=1,
        le=20,
        fast=1,
        thorough=5,
        advanced=True,
    )
    n_trees: int = param(
        60,
        label="Trees at most",
        help="How many trees are grown at most, where trees are the learner; the best number up to this is found.",
        ge=1,
        le=1000,
        tune=(20, 200, "log"),
        fast=30,
        advanced=True,
    )
    tree_depth: int = param(
        4,
        label="Depth of the trees",
        help="How many questions each tree may ask one after the other.",
        ge=1,
        le=7,
        tune=(2, 6, "linear"),
        advanced=True,
    )
    tree_rate: float = param(
        0.1,
        label="Learning rate of the trees",
        help="How much each tree may change what those before it say.",
        gt=0,
        le=1,
        tune=(0.02, 0.3, "log"),
        advanced=True,
    )
