"""Settings of M6-Rec."""

from __future__ import annotations

from typing import Literal

from ...params import param
from ..deep._training import TrainingParams, averaging_param, learning_rate_param


class M6Params(TrainingParams):
    learning_rate: float = learning_rate_param(0.003, 3e-4, 3e-2)
    averaging: float = averaging_param(0.99)
    levels: int | Literal["auto"] = param(
        "auto",
        ge=0,
        le=4,
        label="Levels",
        help="How many levels of encoders read the features, each reading what all before it made: more levels let more features act "
        "together. 0 = their plain sum. Automatic: 0 below 20,000 users, where levels learn single items by heart, else 1.",
        tune=(0, 4, "linear"),
    )
    fuser: Literal["concat", "gated_sum", "attention", "bilinear"] = param(
        "concat",
        label="Joining the levels",
        help="How the levels become one vector, from the highest down: side by side through a linear map, a gated sum, attention, or sum "
        "and product.",
    )
    adaptive: bool = param(
        True,
        label="Weigh the features",
        help="Learns how much each feature counts for each user and item, and shows it; off: all count alike.",
    )
    features: bool = param(
        True,
        label="Use the columns of the tables",
        help="Reads the columns of the user and item tables, where there are any; off: ids and histories alone.",
    )
    text: bool = param(
        True,
        label="Read text columns",
        help="Reads titles and descriptions too; off: only categories, numbers, dates and vectors.",
    )
    text_numbers: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=4096,
        label="Numbers of a text read",
        help="How many of the numbers a text was turned into are read, the most telling first. Few keep it from learning single titles by "
        "heart. Automatic: by the number of items, 16 to 64.",
        tune=(4, 64, "log"),
        advanced=True,
    )
    derived: bool = param(
        False,
        label="Use high-level features",
        help="Reads what training says of users and items beside their tables: activity, popularity, taste and the like.",
    )
    ids: bool = param(
        True,
        label="Use ids of items",
        help="Learns a vector for every item beside its features. Off: items are told by their features alone, as new items always are.",
    )
    user_ids: bool = param(
        False,
        label="Use ids of users",
        help="Learns a vector for every user beside the history and the features. It seldom gains, and new users have none.",
        advanced=True,
    )
    factors: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=1024,
        label="Factors",
        help="How many numbers describe a user, an item and each feature. Automatic: by the number of users.",
        tune=(32, 256, "log"),
    )
    width: int = param(
        64,
        ge=2,
        le=2048,
        label="Width of a level",
        help="Hidden units of each level of encoders.",
        tune=(32, 256, "log"),
        advanced=True,
    )
    generator: int = param(
        0,
        ge=0,
        le=2048,
        label="Width of the generator",
        help="Hidden units of the network that puts features and history together before the comparison. 0 = their plain sum.",
        tune=(0, 128, "linear"),
        advanced=True,
    )
    history: int = param(
        500,
        ge=1,
        le=100_000,
        label="Items of a history read",
        help="How many of a user's most recent items are read.",
    )
    pooling: Literal["attention", "mean"] = param(
        "mean",
        label="Reading a history",
        help="attention: learns which items of a history tell most; mean: all count alike.",
    )
    item_history: Literal["none", "users"] = param(
        "none",
        label="History of items",
        help="users: an item is told by the users who chose it, too; those whose choices are being guessed are left out.",
        advanced=True,
    )
    temperature: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=10,
        label="Temperature",
        help="The lower, the more the wrong items that are closest count. Automatic: by the number of items, 0.2 for some thousand.",
        tune=(0.05, 0.4, "log"),
    )
    hidden: float = param(
        0.7,
        gt=0,
        lt=1,
        label="History to be guessed",
        help="Share of each history that is hidden at every step and has to be found from the rest.",
        tune=(0.3, 0.9, "linear"),
    )
    dropout: float = param(
        0.2,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the numbers inside the levels switched off at each learning step, against learning by heart.",
        tune=(0.0, 0.6, "linear"),
    )
    id_dropout: float = param(
        0.3,
        ge=0,
        lt=1,
        label="Ids hidden while learning",
        help="Share of the items told by their features alone at each step, as new items are. Higher is better for new items; without "
        "an item table it has no effect.",
        tune=(0.0, 0.6, "linear"),
    )
    loss: Literal["softmax", "mse"] = param(
        "softmax",
        label="What is learnt",
        help="softmax: which items are chosen, for lists; mse: ratings.",
    )
    extra_items: int | Literal["auto"] = param(
        "auto",
        ge=0,
        le=100_000,
        label="Items compared with",
        help="Random items that each choice is compared with, beside those that others in the same step chose. As many as the catalogue "
        "has, or more: all items. Automatic: all up to 20,000.",
        advanced=True,
    )
    activity_damping: float = param(
        0.5,
        ge=0,
        le=1,
        label="Damping of active users",
        help="How far the say of users with long histories is reduced while learning: 0 = each interaction counts alike, 1 = each user.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
    )
