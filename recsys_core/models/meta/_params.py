"""Settings of the models that adapt."""

from __future__ import annotations

from typing import Any, Literal

from ...params import param
from ..deep._training import TrainingParams, averaging_param, learning_rate_param, patience_param

ADAPTING = "Adapting to a user"  # the blocks of the form these settings stand in
NETWORK = "Network"
START = "Another dataset's model"


def inner_rate_param(default: float) -> Any:
    """The field `inner_rate` of a model."""
    return param(
        default,
        gt=0,
        le=100,
        label="Size of an adaptation step",
        help="How far a step on a user's few items moves the network. Where the model learns its step sizes, it starts from this.",
        tune=(0.01, 1.0, "log"),
        group=ADAPTING,
    )


def inner_steps_param(default: int, help: str = "") -> Any:
    """The field `inner_steps` of a model."""
    return param(
        default,
        ge=0,
        le=100,
        label="Adaptation steps",
        help=f"How many gradient steps on a user's few items make the network theirs. {help}".rstrip(),
        tune=(1, 10, "linear"),
        group=ADAPTING,
    )


def encoder_param(default: Literal["transformer", "mlp"]) -> Any:
    """The field `encoder` of a model."""
    return param(
        default,
        label="Base network",
        help="mlp: a light network that knows a user by their columns alone until its steps have read the items shown; transformer: "
        "attention reads the items shown before any step, at about twice the time.",
    )


class MetaParams(TrainingParams):
    epochs: int = param(
        40,
        ge=1,
        le=5000,
        fast=8,
        thorough=100,
        label="Passes over the users, at most",
        help="How often every user is a task. Training stops earlier when new users' lists no longer improve.",
    )
    patience: int = patience_param(8, fast=3, thorough=20)
    learning_rate: float = learning_rate_param(0.003, 3e-4, 3e-2)
    averaging: float = averaging_param(0.98)
    encoder: Literal["transformer", "mlp"] = encoder_param("mlp")
    inner_steps: int = inner_steps_param(5)
    inner_rate: float = inner_rate_param(0.1)
    step_sizes: Literal["one", "each", "fixed"] = param(
        "one",
        label="Step sizes",
        help="one: a common step size is learnt; each: every layer learns its own (Meta-SGD); fixed: as given. Reptile, proximal "
        "meta-learning (towards) and the fine-tuned network keep them as given.",
        group=ADAPTING,
        advanced=True,
    )
    shots: int = param(
        10,
        ge=1,
        le=200,
        label="Items shown, at most",
        help="While learning, a user shows from none up to this many items, and the others have to be found.",
        tune=(3, 20, "linear"),
        group=ADAPTING,
    )
    query_size: int = param(
        0,
        ge=0,
        le=10_000,
        label="Items to be found, at most",
        help="How many of a user's other items are looked for at each step. 0 = all of them.",
        advanced=True,
        group=ADAPTING,
    )
    history: int = param(
        50,
        ge=1,
        le=1000,
        label="Items of a history read",
        help="Somebody with a longer history adapts on the most recent items of it.",
        advanced=True,
        group=ADAPTING,
    )
    few_weight: float = param(
        0.0,
        ge=0,
        le=10,
        label="Weight of the start",
        help="Adds the loss before any step, times this, to the loss after the steps: the start is then good by itself too.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
        group=ADAPTING,
    )
    tasks: Literal["users", "users and items", "domains"] = param(
        "users",
        label="What is a task",
        help="users: one user; users and items: single items too, so that a new item is placed by its first few users; domains: a user's "
        "items of one category, so that a new field is known quickly.",
        advanced=True,
    )
    start_from: str = param(
        "",
        label="Start from",
        help="A model that adapts, trained on another dataset with columns of the same names (run: and its id): what its columns mean for "
        "tastes is taken over. Empty: start from nothing.",
        advanced=True,
        group=START,
    )
    as_it_is: bool = param(
        False,
        label="Take it as it is",
        help="Uses the model it starts from without learning from this dataset's users; only the steps on each user's items adapt it.",
        advanced=True,
        group=START,
    )
    mixing: float = param(
        0.0,
        ge=0,
        le=1,
        label="Mixed users",
        help="Share of the tasks that are made of two users' items together, which makes more of few users.",
        advanced=True,
    )
    batch_size: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=10_000,
        label="Tasks a step",
        help="How many users one learning step adapts to. Automatic: 32, fewer with few users.",
        advanced=True,
    )
    factors: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=512,
        label="Factors",
        help="How many numbers describe an item and a user. Automatic: 32, with 5,000 users and more 64.",
        tune=(16, 128, "log"),
        group=NETWORK,
    )
    hidden: int = param(
        64, ge=2, le=2048, label="Hidden units", help="Width of the fully connected layer.", tune=(32, 256, "log"), group=NETWORK
    )
    blocks: int = param(
        1, ge=1, le=8, label="Transformer blocks", help="How many blocks read the items shown.", advanced=True, group=NETWORK
    )
    dropout: float = param(
        0.1,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the hidden units switched off at each learning step, against learning by heart.",
        tune=(0.0, 0.5, "linear"),
        group=NETWORK,
    )
    id_dropout: float = param(
        0.2,
        ge=0,
        lt=1,
        label="Ids hidden while learning",
        help="Share of the items told by their columns alone at each step, as new items are. Without an item table it has no effect.",
        tune=(0.0, 0.6, "linear"),
        group=NETWORK,
    )
    ids: bool = param(
        True,
        label="Use ids of items",
        help="Learns a vector for every item beside its columns. Off: items are told by their columns alone.",
        group=NETWORK,
    )
    features: bool = param(
        True,
        label="Use the columns of the tables",
        help="Reads the columns of the user and item tables, where there are any.",
        group=NETWORK,
    )
    text: bool = param(True, label="Read text columns", help="Reads titles and descriptions too.", group=NETWORK)
    text_encoder: Literal["as chosen", "sentence"] = param(
        "as chosen",
        label="How texts are read",
        help="as chosen: as the dataset's columns say; sentence: by a pretrained sentence encoder, an extra to install.",
        advanced=True,
        group=NETWORK,
    )
    text_model: str = param(
        "",
        label="Sentence encoder",
        help="A folder or a name of the sentence encoder; empty: that of the dataset's columns, or the packaged one.",
        advanced=True,
        group=NETWORK,
    )
    unfreeze: bool = param(
        False,
        label="Train the encoder's last layer",
        help="The sentence encoder's last layer learns with all else, from the texts of items. Much slower.",
        advanced=True,
        group=NETWORK,
    )
    text_numbers: int = param(
        16,
        ge=1,
        le=4096,
        label="Numbers of a text read",
        help="How many of the numbers a text was turned into are read, the most telling first.",
        tune=(8, 384, "log"),
        advanced=True,
        group=NETWORK,
    )
    user_dropout: float = param(
        0.5,
        ge=0,
        le=1,
        label="Users without their columns",
        help="Share of the users whose columns are hidden at each step, so that somebody of whom nothing is known is served too.",
        advanced=True,
        group=NETWORK,
    )
    loss: Literal["softmax", "mse"] = param(
        "softmax", label="What is learnt", help="softmax: which items are chosen, for lists; mse: ratings."
    )
    negatives: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=1_000_000,
        label="Items compared with",
        help="Random items that the chosen ones are compared with. As many as there are, or more: all. Automatic: all up to 20,000.",
        advanced=True,
    )
