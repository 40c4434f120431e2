"""The only training loop. It knows no model: a network, batches of indices, a loss and a validation score."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from ..context import RunContext
from ..errors import WorkbenchError
from .averaging import AveragedWeights
from .batches import IndexBatches
from .checkpoint import Checkpoint, identity_of
from .compiling import compiled
from .distributed import join
from .optimizers import Optimizer, OptimizerName
from .runtime import Precision, autocast, cpu_threads, seed_devices, seeded
from .schedules import Schedule, ScheduleName

SECONDS_BETWEEN_REPORTS = 2.0  # inside a long pass

Loss = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class TrainSettings:
    """epochs: at most. patience: stop after this many validations without improvement; 0 = never.

    schedule, warmup_steps, horizon: see `Schedule`; horizon in epochs (0 = `epochs`), warm-up in updates.
    clip_norm: largest gradient norm; 0 = no clipping. accumulate: batches whose gradients make one update.
    averaging: decay of the moving average of the weights that is validated and kept; 0 = the weights
    themselves. swa_from: instead, the plain mean of the weights after each epoch from this share of `horizon` on
    (stochastic weight averaging); 0 = off.
    precision, compile: see `runtime.autocast`, `compiling`. lazy_tables: see `Optimizer`.
    """

    epochs: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: OptimizerName = "adam"
    schedule: ScheduleName = "constant"
    warmup_steps: int = 0
    horizon: int = 0
    clip_norm: float = 0.0
    accumulate: int = 1
    patience: int = 0
    averaging: float = 0.0
    swa_from: float = 0.0
    precision: Precision = "float32"
    compile: bool = False
    lazy_tables: tuple[str, ...] = ()


@dataclass
class Trained:
    """What came of it. best_epoch: from 1; the last one when nothing was validated. history: a dict an epoch.

    resumed_after: the epoch of the checkpoint it went on from, 0 = from the start. notes: sentences for the user.
    """

    best_epoch: int
    best_score: float | None = None
    stopped_early: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    resumed_after: int = 0
    notes: list[str] = field(default_factory=list)


def train(
    network: nn.Module,
    batches: IndexBatches,
    loss: Loss,
    settings: TrainSettings,
    ctx: RunContext,
    *,
    validate: Callable[[], float] | None = None,
    metric: str = "ndcg@20",
    larger_is_better: bool = True,
    before_epoch: Callable[[int], None] | None = None,
    identity: str = "",
) -> Trained:
    """Fit `network` in place and leave it in evaluation mode with its best weights (by `validate`, else the last).

    loss(index, step): scalar of one batch, a mean over its rows; step counts batches from 0 over the whole training.
    validate(): the score named `metric`; called in evaluation mode without gradients.
    before_epoch(epoch): called before every pass, epochs from 1.
    Chance is seeded once an epoch from `ctx`; `ctx.check()` is asked once a batch. With a `ctx.workdir`
    checkpoints are kept there and taken up again when `identity` (what the caller trains on) is the same.
    """
    with cpu_threads(ctx.n_threads):
        training = _Training(network, batches, loss, settings, ctx, metric, larger_is_better, identity)
        training.validate, training.before_epoch = validate, before_epoch
        training.resume()
        while not training.finished:
            training.epoch()
        return training.end()


class _Training:
    """The state of one training, and one epoch of it."""

    validate: Callable[[], float] | None
    before_epoch: Callable[[int], None] | None

    def __init__(
        self,
        network: nn.Module,
        batches: IndexBatches,
        loss: Loss,
        settings: TrainSettings,
        ctx: RunContext,
        metric: str,
        larger_is_better: bool,
        identity: str,
    ) -> None:
        self.network, self.batches, self.loss, self.settings, self.ctx = network, batches, loss, settings, ctx
        self.metric, self.sign = metric, 1 if larger_is_better else -1
        self.device = next(network.parameters()).device
        self.group = join(self.device)
        lazy = settings.lazy_tables if self.group.size == 1 else ()
        self.optimizer = Optimizer(network, settings.optimizer, settings.learning_rate, settings.weight_decay, lazy)
        horizon = settings.horizon or settings.epochs
        self.updates_an_epoch = -(-len(batches) // settings.accumulate)
        updates = horizon * self.updates_an_epoch
        soon = max(1, min(5, settings.patience // 2)) if settings.patience else 5  # a plateau must be met before the end
        self.schedule = Schedule(settings.schedule, settings.learning_rate, settings.warmup_steps, updates, soon)
        self.swa_start = max(1, math.ceil(settings.swa_from * horizon)) if settings.swa_from else 0
        self.averaged: AveragedWeights | None = None
        if self.swa_start or settings.averaging:
            self.averaged = AveragedWeights(network, None if self.swa_start else settings.averaging)
        self.result = Trained(settings.epochs)
        self.best: dict[str, Tensor] | None = None
        self.done = self.misses = 0  # epochs; validations in a row without improvement
        self.started = time.monotonic()
        about = [settings, ctx.seed, batches.n, batches.batch_size, metric, identity]
        self.checkpoint = Checkpoint(ctx.workdir, identity_of(network, *about) if ctx.workdir else "")

    @property
    def finished(self) -> bool:
        return self.result.stopped_early or self.done >= self.settings.epochs

    # ---- one epoch -------------------------------------------------------------------------------
    def epoch(self) -> None:
        """A pass over the batches, then what it was worth."""
        number = self.done + 1
        if self.before_epoch is not None:
            self.before_epoch(number)
        with seeded(self.ctx.seed_for(f"training/epoch {number}"), self.device):
            record = self._pass(number)
        self.done = number
        if self.swa_start and number >= self.swa_start:
            self.averaged.update()
        improved = self._validate(record) if self.validate is not None else False
        self.schedule.hear(self.sign * record[self.metric] if self.validate is not None else -record["loss"])
        self.result.history.append({"epoch": number, **record})
        if self.settings.patience and self.misses >= self.settings.patience:
            self.result.stopped_early = True
        if self.group.rank == 0 and self.checkpoint.due(improved, last=self.finished):
            self.checkpoint.save(self._state())
        self._tell(record, number, number / self.settings.epochs)

    def _pass(self, epoch: int) -> dict[str, float]:
        """All batches once; mean loss, learning rate and speed."""
        self.network.train()
        total = torch.zeros((), device=self.device)
        rows, begin = 0, time.monotonic()
        reported = begin
        indices = self.batches
        if self.group.size > 1:
            indices = list(self.batches)  # the same order everywhere; after it each process draws its own chance
            seed_devices(self.ctx.seed_for(f"training/epoch {epoch}/process {self.group.rank}"), self.device)
        count, pile = len(self.batches), self.settings.accumulate
        for number, index in enumerate(indices):
            self.ctx.check()
            if number % pile == 0:
                self.optimizer.zero_grad()
            value = self._gradients(index, (epoch - 1) * count + number, min(pile, count - number // pile * pile))
            if (number + 1) % pile == 0 or number + 1 == count:
                rate = self._update((epoch - 1) * self.updates_an_epoch + number // pile)
            total += value * len(index)
            rows += len(index)
            now = time.monotonic()
            if now - reported > SECONDS_BETWEEN_REPORTS:
                reported = now
                done = (epoch - 1 + (number + 1) / count) / self.settings.epochs
                record = {"loss": float(total) / rows, "learning_rate": rate, "samples_per_second": rows / (now - begin)}
                self._tell(record, epoch, done, f"batch {number + 1:,} of {count:,}")
        mean = float(self.group.total(total)) / self.batches.n
        if not math.isfinite(mean):
            raise WorkbenchError(f"Training diverged: the loss became {mean} in epoch {epoch}.", "Lower the learning rate.")
        return {"loss": mean, "learning_rate": rate, "samples_per_second": self.batches.n / max(time.monotonic() - begin, 1e-9)}

    def _gradients(self, index: Tensor, step: int, pile: int) -> Tensor:
        """Add the gradients of one batch, of `pile` that make an update; its loss (of this process's share of the rows)."""
        share = self.group.share(index)
        if len(share) == 0:
            return torch.zeros((), device=self.device)
        with autocast(self.device, self.settings.precision):
            value = self.loss(share, step)
        weight = len(share) / len(index)
        (value * (weight / pile) if weight != 1 or pile != 1 else value).backward()
        return value.detach() * weight

    def _update(self, update: int) -> float:
        """One step of the optimiser with the gradients gathered; the learning rate it had."""
        self.group.sum_gradients(self.optimizer.parameters)
        rate = self.schedule.rate(update)
        self.optimizer.set_rate(rate)
        if self.settings.clip_norm:
            self.optimizer.clip(self.settings.clip_norm)
        self.optimizer.step()
        if self.averaged is not None and not self.swa_start:
            self.averaged.update()
        return rate

    def _validate(self, record: dict[str, float]) -> bool:
        """Whether the weights as they would be kept are the best so far; then they are."""
        self.network.eval()
        averaging = self.averaged is not None and self.averaged.steps > 0
        with torch.no_grad(), self.averaged.applied() if averaging else nullcontext():
            score = float(self.validate()) if self.group.rank == 0 else 0.0
            score = self.group.agree(score, self.device)
            gain = self.sign * (score - (self.result.best_score or 0.0))
            better = self.result.best_score is None or gain > 0
            if better:
                self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        record[self.metric] = score
        self.misses = 0 if better else self.misses + 1
        if better:
            self.result.best_epoch, self.result.best_score = self.done, score
        return better

    def _tell(self, record: dict[str, float], epoch: int, fraction: float, message: str = "") -> None:
        """Report how far it is; what is left is judged by what was done since it began or went on."""
        epochs = self.settings.epochs
        left = (time.monotonic() - self.started) * (1 - fraction) / (fraction - self.result.resumed_after / epochs)
        self.ctx.report("training", fraction, message, epoch=epoch, epochs=epochs, metrics=record, seconds_left=left)

    # ---- its end, and going on ---------------------------------------------------------------------
    def end(self) -> Trained:
        """The best weights in place, in evaluation mode."""
        if self.best is not None:
            self.network.load_state_dict(self.best)
        elif self.averaged is not None and self.averaged.steps:
            self.averaged.copy_in(self.averaged.average)
        for name in self.settings.lazy_tables:
            self.network.get_submodule(name).sparse = False
        self.optimizer.zero_grad()  # as large as the weights, and of no use any more
        self.network.eval()
        return self.result

    def _state(self) -> dict[str, object]:
        """Everything the next epoch depends on, and the record so far."""
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        best = {f"best.{name}": value for name, value in (self.best or {}).items()}
        optimizer = {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        average = {} if self.averaged is None else {f"average.{n}": value for n, value in enumerate(self.averaged.average)}
        counters = {"done": self.done, "misses": self.misses, "steps": self.averaged.steps if self.averaged else 0}
        return weights | best | optimizer | average | counters | {"schedule": self.schedule.state(), "result": asdict(self.result)}

    def resume(self) -> None:
        """Take up the checkpoint of this very training, if there is one; then compile what is left, where asked for."""
        state = self.checkpoint.load()
        found = int(self.group.total(torch.tensor(float(state is not None), device=self.device)))
        if state is not None and found == self.group.size:  # on hosts without a common folder only the first has one
            parts: dict[str, dict[str, object]] = {"network": {}, "best": {}, "optimizer": {}, "average": {}}
            for name, value in state.items():
                head, _, rest = name.partition(".")
                if head in parts and rest:
                    parts[head][rest] = value
            self.network.load_state_dict({name: torch.as_tensor(value) for name, value in parts["network"].items()})
            self.best = {name: torch.as_tensor(value, device=self.device) for name, value in parts["best"].items()} or None
            self.optimizer.restore(parts["optimizer"])
            if self.averaged is not None:
                self.averaged.restore([torch.as_tensor(parts["average"][str(n)]) for n in range(len(parts["average"]))], state["steps"])
            self.schedule.restore(state["schedule"])
            self.done, self.misses = state["done"], state["misses"]
            self.result = Trained(**state["result"])
            self.result.resumed_after = self.done
            for past in self.result.history:
                record = {name: value for name, value in past.items() if name != "epoch"}
                epoch, epochs = int(past["epoch"]), self.settings.epochs
                self.ctx.report("training", epoch / epochs, epoch=epoch, epochs=epochs, metrics=record, replayed=True)
        if self.settings.compile and not self.finished:
            self.loss, problem = compiled(self.loss, self.batches)
            if problem:
                self.result.notes.append(problem)
