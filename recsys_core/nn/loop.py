"""The only training loop. It knows no model: a network, batches of indices, a loss and a validation score."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ..context import RunContext
from ..errors import WorkbenchError
from .averaging import AveragedWeights
from .batches import IndexBatches
from .runtime import cpu_threads, seeded

SECONDS_BETWEEN_REPORTS = 2.0  # inside a long epoch


@dataclass(frozen=True)
class TrainSettings:
    """epochs: at most. patience: stop after this many validations without improvement; 0 = never.

    warmup_steps: the learning rate rises linearly over them. clip_norm: largest gradient norm; 0 = no clipping.
    min_delta: a smaller rise of the validation score is not an improvement.
    averaging: decay of the moving average of the weights that is validated and kept; 0 = the weights themselves.
    """

    epochs: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw", "adagrad", "sgd"] = "adam"
    warmup_steps: int = 0
    clip_norm: float = 0.0
    patience: int = 0
    validate_every: int = 1
    min_delta: float = 0.0
    averaging: float = 0.0


@dataclass
class Trained:
    """What came of it. best_epoch: from 1; the last one when nothing was validated. history: a dict an epoch."""

    best_epoch: int
    best_score: float | None
    stopped_early: bool
    history: list[dict[str, float]] = field(default_factory=list)


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Over all weights that learn; one fused kernel a step where torch has it."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "fused": True}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adagrad": torch.optim.Adagrad, "sgd": torch.optim.SGD}
    if settings.optimizer == "adagrad" and parameters[0].device.type != "cpu":
        options["fused"] = False  # torch has that kernel for the CPU only
    return kind[settings.optimizer](parameters, **options)


def train(
    network: nn.Module,
    batches: IndexBatches,
    loss: Callable[[Tensor, int], Tensor],
    settings: TrainSettings,
    ctx: RunContext,
    *,
    validate: Callable[[], float] | None = None,
    metric: str = "ndcg@20",
    larger_is_better: bool = True,
) -> Trained:
    """Fit `network` in place and leave it in evaluation mode with its best weights (by `validate`, else the last).

    loss(index, step): scalar of one batch; step counts batches from 0 over the whole training.
    validate(): the score named `metric`; called in evaluation mode without gradients.
    Chance is seeded once an epoch from `ctx`; `ctx.check()` is asked once a batch.
    """
    device = next(network.parameters()).device
    optimizer = make_optimizer(network, settings)
    result = Trained(settings.epochs, None, False)
    best: dict[str, Tensor] | None = None
    averaged = AveragedWeights(network, settings.averaging) if settings.averaging else None
    misses, started = 0, time.monotonic()
    with cpu_threads(ctx.n_threads):
        for epoch in range(1, settings.epochs + 1):
            with seeded(ctx.seed_for(f"training/epoch {epoch}"), device):
                record = _epoch(network, batches, loss, optimizer, averaged, settings, ctx, epoch, started)
            due = epoch % settings.validate_every == 0 or epoch == settings.epochs
            if validate is not None and due:
                network.eval()
                with torch.no_grad(), averaged.applied() if averaged else nullcontext():
                    score = float(validate())
                    gain = (score - (result.best_score or 0.0)) * (1 if larger_is_better else -1)
                    better = result.best_score is None or gain > settings.min_delta
                    if better:
                        best = {name: value.detach().clone() for name, value in network.state_dict().items()}
                record[metric] = score
                misses = 0 if better else misses + 1
                if better:
                    result.best_epoch, result.best_score = epoch, score
            result.history.append({"epoch": epoch, **record})
            left = (time.monotonic() - started) / epoch * (settings.epochs - epoch)
            ctx.report("training", epoch / settings.epochs, epoch=epoch, epochs=settings.epochs, metrics=record, seconds_left=left)
            if settings.patience and misses >= settings.patience:
                result.stopped_early = True
                break
    if best is not None:
        network.load_state_dict(best)
    elif averaged:
        averaged.copy_in(averaged.average)
    network.eval()
    return result


def _epoch(
    network: nn.Module,
    batches: IndexBatches,
    loss: Callable[[Tensor, int], Tensor],
    optimizer: torch.optim.Optimizer,
    averaged: AveragedWeights | None,
    settings: TrainSettings,
    ctx: RunContext,
    epoch: int,
    started: float,
) -> dict[str, float]:
    """One pass over the batches; mean loss, learning rate and speed."""
    network.train()
    total = torch.zeros((), device=next(network.parameters()).device)
    begin = reported = time.monotonic()
    rate = settings.learning_rate
    for number, index in enumerate(batches):
        ctx.check()
        step = (epoch - 1) * len(batches) + number
        if settings.warmup_steps:
            rate = settings.learning_rate * min(1.0, (step + 1) / settings.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        value = loss(index, step)
        value.backward()
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        if averaged:
            averaged.update()
        total += value.detach() * len(index)
        now = time.monotonic()
        if now - reported > SECONDS_BETWEEN_REPORTS:
            reported = now
            done = (epoch - 1 + (number + 1) / len(batches)) / settings.epochs
            left = (now - started) * (1 - done) / done
            message = f"batch {number + 1:,} of {len(batches):,}"
            ctx.report("training", done, message, epoch=epoch, epochs=settings.epochs, seconds_left=left)
    mean = float(total) / batches.n
    if mean != mean or abs(mean) == float("inf"):
        raise WorkbenchError(f"Training diverged: the loss became {mean} in epoch {epoch}.", "Lower the learning rate.")
    seconds = max(time.monotonic() - begin, 1e-9)
    return {"loss": mean, "learning_rate": rate, "samples_per_second": batches.n / seconds}
