"""Settings of the training loop, the same for every network."""

from __future__ import annotations

from typing import Any, Literal

from ...params import Params, param

TECHNIQUE = "Training technique"  # the block of the form these settings stand in


def patience_param(balanced: int, *, fast: int, thorough: int) -> Any:
    """The field `patience` of a model, by preset."""
    return param(
        balanced,
        ge=0,
        le=500,
        fast=fast,
        thorough=thorough,
        label="Patience",
        help="Stop after this many passes without a better validation result. 0 = never stop early.",
        advanced=True,
    )


def learning_rate_param(default: float, low: float, high: float) -> Any:
    """The field `learning_rate` of a model; low, high: what tuning tries."""
    return param(
        default,
        gt=0,
        le=1,
        label="Learning rate",
        help="Size of each learning step. Larger learns faster, too large does not learn at all.",
        tune=(low, high, "log"),
    )


def averaging_param(default: float) -> Any:
    """The field `averaging` of a model."""
    shown = default or 0.99
    return param(
        default,
        ge=0,
        lt=1,
        label="Averaging of the weights",
        help="Keeps a moving average of the network instead of its last state, which is steadier. "
        f"0 = off, {shown} = over some {1 / (1 - shown):.0f} steps.",
        advanced=True,
        group=TECHNIQUE,
    )


def fold_in_steps_param(default: int) -> Any:
    """The field `fold_in_steps` of a model that finds new users by gradient steps."""
    return param(
        default,
        ge=1,
        le=1000,
        label="Steps for a new user",
        help="How many learning steps find the taste of a user the model has never seen. Too many learn the history by heart.",
        advanced=True,
    )


class TrainingParams(Params):
    """Settings of the training loop."""

    epochs: int = param(
        200,
        ge=1,
        le=5000,
        fast=40,
        thorough=600,
        label="Passes over the data, at most",
        help="How often the model goes through the data. Training stops earlier when the validation lists no longer improve.",
    )
    patience: int = patience_param(20, fast=6, thorough=40)
    learning_rate: float = learning_rate_param(0.001, 1e-4, 1e-2)
    batch_size: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=1_000_000,
        label="Batch size",
        help="How many examples one learning step looks at. Automatic: by the size of the data.",
        advanced=True,
    )
    weight_decay: float = param(
        0.0,
        ge=0,
        le=1,
        label="Weight decay",
        help="Pulls all weights towards zero; raise it when the validation result falls while the loss still improves.",
        tune=(1e-7, 1e-2, "log"),
        advanced=True,
    )
    averaging: float = averaging_param(0.0)
    swa_from: float = param(
        0.0,
        ge=0,
        lt=1,
        label="Average of the last passes",
        help="Keeps the plain average of the network after each pass, from this share of the passes on. 0 = off; "
        "it takes the place of the moving average.",
        advanced=True,
        group=TECHNIQUE,
    )
    optimizer: Literal["adam", "adamw", "adagrad", "sgd"] = param(
        "adam",
        label="Optimiser",
        help="How a learning step is made. adamw: as adam, with weight decay apart from the gradient; adagrad: good where "
        "some items are very rare; sgd: plain steps, wants a much larger learning rate.",
        advanced=True,
        group=TECHNIQUE,
    )
    schedule: Literal["constant", "cosine", "plateau"] = param(
        "constant",
        label="Course of the learning rate",
        help="cosine: falls smoothly to almost nothing over the passes; plateau: is halved when results stop improving.",
        advanced=True,
        group=TECHNIQUE,
    )
    schedule_epochs: int = param(
        0,
        ge=0,
        le=5000,
        label="Passes the course is laid out for",
        help="Over how many passes a falling learning rate reaches its end. 0 = all passes.",
        advanced=True,
        group=TECHNIQUE,
    )
    warmup: float = param(
        0.0,
        ge=0,
        le=100,
        label="Passes of warm-up",
        help="The learning rate rises from nothing over this many passes (parts of a pass count); it steadies the start of deep networks.",
        advanced=True,
        group=TECHNIQUE,
    )
    clip_norm: float = param(
        0.0,
        ge=0,
        le=1e6,
        label="Largest gradient",
        help="Learning steps larger than this are shortened, against single wild steps. 0 = off; 1 to 5 is usual.",
        advanced=True,
        group=TECHNIQUE,
    )
    accumulate: int = param(
        1,
        ge=1,
        le=1024,
        label="Batches a step",
        help="Gathers this many batches before each learning step: the effect of a larger batch in the memory of a small one.",
        advanced=True,
        group=TECHNIQUE,
    )
    find_learning_rate: bool = param(
        False,
        label="Find the learning rate first",
        help="Tries rising learning rates for some hundred steps and takes a tenth of the best of them, instead of the one above.",
        advanced=True,
        group=TECHNIQUE,
    )
    precision: Literal["fastest", "float32", "bfloat16"] = param(
        "fastest",
        label="Number format",
        help="bfloat16 halves the digits of large products, which is faster on processors made for it. fastest: there only.",
        advanced=True,
        group=TECHNIQUE,
    )
    compile: bool = param(
        False,
        label="Compile the network",
        help="Lets torch translate the network into machine code first, which takes up to minutes. "
        "It pays for long trainings; where it cannot be done, training goes on without.",
        advanced=True,
        group=TECHNIQUE,
    )
    lazy_updates: bool = param(
        False,
        label="Update only what was looked up",
        help="A step changes only the users and items it saw. It pays with hundreds of thousands of items, best with "
        "the optimiser adagrad, and costs a little below.",
        advanced=True,
        group=TECHNIQUE,
    )
