"""What every deep model shares: training settings, early stopping, weights on disk, leave-one-out reasons."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import WorkbenchError
from ...metrics._quick import ndcg_at
from ...params import Params
from .._base import Explanation, Recommender
from ._training import TrainingParams as TrainingParams  # for models: one import

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches
    from ...nn.loop import TrainSettings

VALIDATION_K = 20
VALIDATION_USERS = 2000  # enough to choose an epoch: the standard error of mean NDCG is then about .005


class DeepRecommender(Recommender):
    """A network trained by `nn.loop.train`. A model writes `_build`, `_objective` and `_history_scores`."""

    family = "Deep"
    uses_validation = True
    Params = TrainingParams

    network: nn.Module
    best_epoch: int | None = None
    lazy_tables: ClassVar[tuple[str, ...]] = ()  # embeddings of the network whose rows are only looked up
    left_out_at_most: ClassVar[int] = 200  # history items tried in an explanation, the most recent ones

    # ---- what a deep model writes ----------------------------------------------------------------
    @abstractmethod
    def _build(self, n_users: int, n_items: int) -> nn.Module:
        """The untrained network of `self.resolved`."""

    @abstractmethod
    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        """(batches, loss(index, step)) of the training set."""

    def _before_epoch(self, epoch: int) -> None:
        """Called before each pass, from 1: which part of the network learns, what is copied."""

    def _ready(self) -> None:
        """Make what scoring needs beside the weights: called before each validation, after fit and after loading."""

    # ---- shared ----------------------------------------------------------------------------------
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        from ...nn.loop import train
        from ...nn.runtime import find_device, seeded

        device = find_device(ctx.device)
        with seeded(ctx.seed_for("weights")):
            self.network = self._build(data.n_users, data.n_items).to(device)
        batches, loss = self._objective(data, device)
        validate = None
        if validation is not None and len(validation.users):
            sample = validation.sample(VALIDATION_USERS, ctx.rng("validation users"))

            def validate() -> float:
                self._ready()
                return self._validation_score(sample)

        metric, larger_is_better = self._validation_metric(validation)
        trained = train(
            self.network,
            batches,
            loss,
            self._settings(batches, loss, ctx),
            ctx,
            validate=validate,
            metric=metric,
            larger_is_better=larger_is_better,
            before_epoch=self._before_epoch,
            identity=self._identity(data) if ctx.workdir else "",
        )
        self.network.cpu()
        self._ready()
        self.best_epoch = trained.best_epoch
        self.notes += trained.notes
        if trained.best_score is not None:
            why = f"no better for {self.resolved.patience} passes" if trained.stopped_early else "all passes done"
            self.notes.append(
                f"Best of {len(trained.history)} passes: number {trained.best_epoch}, "
                f"validation {metric.upper()} {trained.best_score:.4f} ({why}); its weights are kept."
            )

    def _settings(self, batches: IndexBatches, loss: Callable[[Tensor, int], Tensor], ctx: RunContext) -> TrainSettings:
        """The loop's settings, with the learning rate found where that was asked for."""
        from ...nn.loop import TrainSettings
        from ...nn.lr_finder import find_learning_rate

        p = self.resolved
        if p.find_learning_rate:
            found = find_learning_rate(self.network, batches, loss, p.optimizer, p.weight_decay, ctx)
            rate = p.learning_rate if found.rate is None else found.rate
            self.notes.append(
                f"Learning rate {rate:.2g} was found in {len(found.rates)} trial steps."
                if found.rate is not None
                else f"In {len(found.rates)} trial steps the loss did not fall by more than chance; the learning rate stays {rate:.2g}."
            )
            self.resolved = p = p.with_(learning_rate=rate, find_learning_rate=False)
        if p.lazy_updates and not self.lazy_tables:
            self.notes.append(f"{self.label} uses all its weights in every step, so updating only what was looked up has no effect.")
        steps = -(-len(batches) // p.accumulate)
        return TrainSettings(
            epochs=p.epochs,
            learning_rate=p.learning_rate,
            weight_decay=p.weight_decay,
            optimizer=p.optimizer,
            schedule=p.schedule,
            warmup_steps=round(p.warmup * steps),
            horizon=p.schedule_epochs,
            clip_norm=p.clip_norm,
            accumulate=p.accumulate,
            patience=p.patience,
            averaging=p.averaging,
            swa_from=p.swa_from,
            precision=p.precision,
            compile=p.compile,
            lazy_tables=self.lazy_tables if p.lazy_updates else (),
        )

    def _identity(self, data: Dataset) -> str:
        """What a checkpoint must have been made of to be gone on with."""
        chosen = "" if data.features is None else data.features.id
        return f"{self.key} {self.resolved.model_dump_json()} {data.fingerprint} {chosen}".rstrip()

    def _validation_metric(self, validation: Holdout | None) -> tuple[str, bool]:
        """(name, whether larger is better) of what `_validation_score` gives."""
        return f"ndcg@{VALIDATION_K}", True

    def _validation_score(self, validation: Holdout) -> float:
        """Mean NDCG of full-catalogue lists, seen items left out."""
        top = self.recommend_holdout(validation, VALIDATION_K)
        return float(ndcg_at(top.items, validation.relevant, VALIDATION_K).mean())

    def refit_params(self) -> Params:
        if self.best_epoch is None:
            return self.params
        p = self.resolved  # the course of the learning rate stays what it was
        return p.with_(epochs=self.best_epoch, patience=0, schedule_epochs=p.schedule_epochs or p.epochs)

    def _state(self) -> dict[str, Any]:
        return {f"network.{name}": value for name, value in self.network.state_dict().items()} | {"best_epoch": self.best_epoch}

    def _restore(self, state: dict[str, Any]) -> None:
        import torch

        self.best_epoch = state["best_epoch"]
        self.network = self._build(self.fitted.n_users, self.fitted.n_items)
        prefix = "network."
        weights = {name.removeprefix(prefix): torch.as_tensor(value) for name, value in state.items() if name.startswith(prefix)}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            hint = "Train it again; the settings are those of the result."
            raise WorkbenchError(f"This {self.label} was trained by another version, whose network had other layers.", hint) from error
        self.network.eval()
        self._ready()

    def _positives(self, histories: Histories) -> sparse.csr_matrix:
        """csr (B, I) of what each history liked; all of a history that has no rating at the threshold."""
        return histories.relevant(self.fitted.threshold).matrix(self.fitted.n_items)

    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        """Leave one out: how much the item's score falls when one history item is forgotten."""
        recent = np.unique(history.last(self.left_out_at_most).items)
        n = len(history.items)
        which, without = np.nonzero(recent[:, None] != history.items[None, :])
        rows = np.concatenate([np.zeros(n, np.int64), which + 1])
        entries = np.concatenate([np.arange(n), without])
        times = None if history.times is None else history.times[entries]
        versions = Histories.from_rows(len(recent) + 1, rows, history.items[entries], history.values[entries], times)
        score = self._scores_of_item(versions, item, user)
        fall = score[0] - score[1:]
        order = np.argsort(-fall, kind="stable")[:k]
        return Explanation(
            kind="history",
            refs=tuple(int(i) for i in recent[order]),
            contributions=tuple(float(x) for x in fall[order]),
            total=float(score[0]),
            exact=False,
            method=f"How much the item's score falls when one history item is left out; the {len(recent)} most recent were tried.",
        )

    def _scores_of_item(self, histories: Histories, item: int, user: int | None = None) -> np.ndarray:
        """float (B,): one item's score for each history, in blocks. user: whose row of the user table is read beside them."""
        parts = []
        for rows in self._batches(len(histories)):
            part = histories.take(np.arange(rows.start, rows.stop))
            users = None if user is None else np.full(len(part), user)
            parts.append(self._from_histories(part, users)[:, item])
        return np.concatenate(parts)
