"""What all models that adapt share: the network, tasks from the training users, adaptation to a history, scores."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.features import KINDS
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import BadInput, Unsupported
from ...params import Params
from .._base import Cost, block_bytes
from .._inputs import Inputs
from .._vectors import cosines
from ..deep._base import DeepRecommender
from ._bundle import Bundled
from ._params import MetaParams
from ._texts import ItemTexts, with_sentences
from ._validation import FewShots, judged_users, rating_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches
    from ._losses import TaskLosses
    from ._network import Task

WHOLE_CATALOGUE = 20_000  # items up to which every step compares with all
FEW = (1, 3, 5, 10)  # items shown when new users decide which pass was the best
CELLS = 2**22  # scores of items shown held at once while adapting
_adapting = threading.Lock()  # `functional_call` puts a user's weights into the network itself: one thread at a time


class MetaRecommender(Bundled, DeepRecommender):
    """A network that becomes a user's own in a few gradient steps on the items they show. A learner writes `_lesson`.

    Scores: vector of the user (from the core, which adapts) times vector of the item, plus the item's bias. Items are shared by all
    users and do not adapt, so that a list over the whole catalogue is one product once somebody has adapted.
    Shapes: item_vectors (I, d), adapted_vectors (B, steps + 1, d), float32.
    """

    family = "Meta-learning"
    Params = MetaParams
    reads_features = True
    reads_user_table = True
    adapts = True
    has_prior = True
    left_out_at_most = 50
    adapted: ClassVar[tuple[str, ...] | None] = None  # parts of the core that adapt; None = all
    inputs: Inputs
    texts: ItemTexts | None = None  # where the last layer of a sentence encoder learns
    _source: Any = None  # the model to start from, while it is being taken over
    _public: Any = None  # users of the training set that new items are placed among; made when first asked for

    # ---- what a learner writes -------------------------------------------------------------------
    @abstractmethod
    def _lesson(self, losses: TaskLosses, tasks: Task) -> Tensor:
        """The loss of the tasks of one step; its gradient trains the start and what all users share."""

    # ---- describing ------------------------------------------------------------------------------
    @classmethod
    def unread_kinds(cls, params: Params) -> tuple[str, ...]:
        return tuple(KINDS) if not params.features else () if params.text else ("text",)

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {
            "factors": 32 if stats.n_users < 5_000 else 64,
            "batch_size": int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 16)), 4, 32)),
            "negatives": stats.n_items if stats.n_items <= WHOLE_CATALOGUE else 4096,
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        met = min(stats.n_items, p.negatives + p.batch_size * 50)
        reads = p.encoder == "transformer"
        a_task = (p.shots if reads else 1) * (met + p.factors * (p.hidden + 8 * p.factors * p.blocks * reads))
        memory = 4 * p.batch_size * a_task * (2 + 3 * p.inner_steps) + 40 * stats.n_items * p.factors
        passes = p.epochs * (0.6 if p.patience else 1) * (1.4 if p.tasks == "users and items" else 1)
        a_pass = stats.n_users * (4e-4 + (1 + p.inner_steps) * a_task * (p.factors + 6) * 1.2e-10)
        a_pass += 6e-9 * stats.n_items * p.factors * stats.n_users / p.batch_size  # the optimiser's walk over all items, every step
        judged = min(judged_users(stats.n_items), stats.n_users / 10) * len(FEW)
        a_pass += judged * (4e-4 + (1 + p.inner_steps) * stats.n_items * (5 if reads else 1) * (p.factors + 6) * 2e-10)
        if p.unfreeze:  # titles: every text twice a pass, and those that train the layer
            a_pass += 0.005 * stats.n_items + 0.5 * stats.n_users / p.batch_size
            memory += 4e8 + 12_000 * stats.n_items
        note = "passes × users × adaptation steps × items shown × items compared with"
        return Cost(int(memory + 80 * stats.n_interactions + block_bytes(stats)), 2 + passes * a_pass, note)

    # ---- learning --------------------------------------------------------------------------------
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        p, self._check = self.resolved, ctx.check
        if self._ratings and p.tasks == "users and items":
            raise BadInput(
                "Items are tasks for lists only, and what is learnt here is ratings (loss=mse).", "Set loss to softmax, or tasks to users."
            )
        counts = np.diff(data.matrix("seen").tocsc().indptr) if self._ratings else data.item_counts
        if p.start_from:
            self._begin_elsewhere(data, counts, ctx)
            if not p.as_it_is:
                super()._fit(data, ctx, validation)
            return
        sentences = p.features and p.text and (p.unfreeze or p.text_encoder == "sentence")
        told = with_sentences(data, p.text_model) if sentences else data
        self.texts = ItemTexts.fit(data, p.text_model, ctx) if sentences and p.unfreeze else None
        if p.unfreeze and self.texts is None:
            self.notes.append("There is no text of items to be read, so no layer of a sentence encoder learns.")
        self.inputs, notes = Inputs.fit(told, ctx, counts, features=p.features, derived=False, text=p.text, ids=p.ids)
        self.notes += notes
        super()._fit(data, ctx, validation)

    def _begin_elsewhere(self, data: Dataset, counts: np.ndarray, ctx: RunContext) -> None:
        """Start from a model of another dataset: its reading of columns, its sizes, its weights."""
        from ...nn.runtime import find_device, seeded
        from ._transfer import source_of, taken_inputs, taken_settings

        self._source = source = source_of(ctx, self.resolved, self.label)
        self.texts = None
        self.resolved, said = taken_settings(self.resolved, source)
        self.inputs, notes = taken_inputs(source, data, counts, ctx)
        self.notes += [f"It starts from {source.label}, trained on {source.fitted.name or 'another dataset'}.", *notes, *said]
        if self.resolved.as_it_is:
            with seeded(ctx.seed_for("weights")):
                self.network = self._build(data.n_users, data.n_items).to(find_device(ctx.device)).cpu()
            self._ready()
            self.notes.append("Nothing was learnt from this dataset's users but how popular items are.")

    def wants_validation(self) -> bool:
        return not (self.params.start_from and self.params.as_it_is)

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        import torch

        from ._network import MetaNet

        counts = self.fitted.item_counts.astype(np.float64)
        prior = np.zeros(n_items) if self._ratings else np.log(counts + 0.5) - np.log(counts + 0.5).mean()
        network = MetaNet(self.inputs, torch.as_tensor(prior, dtype=torch.float32), self.resolved, self.adapted)
        if self._source is not None:
            from ._transfer import take_over

            take_over(network, self.resolved, self._source)
            self._source = None
        if self.texts is not None:
            from ._text_tower import TextTower

            made = self.texts
            network.texts = TextTower(made.settings, network.size, made.text_of, made.n, made.read)
        return network

    def _before_epoch(self, epoch: int) -> None:
        if self.texts is not None:
            self.network.texts.fresh = False  # what was read for lists may be by averaged weights
            self.network.texts.refresh()

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        from ._objective import Objective

        made = Objective(self.network, self.inputs, data, self.resolved, device, self._lesson)
        return made.batches, made

    def _check(self) -> None:
        """Stops where that was asked for: between blocks of the validation, which takes a while with many items."""

    def _validation_metric(self, validation: Holdout | None) -> tuple[str, bool]:
        return ("rmse", False) if self._ratings else super()._validation_metric(validation)

    def _validation_score(self, validation: Holdout) -> float:
        """Ratings: RMSE. New users: mean NDCG from a few items shown, the same others to be found. Else as every network."""
        if self._ratings:
            return rating_error(self, validation, self._check)
        if not validation.cold:
            return super()._validation_score(validation)
        some = validation.sample(judged_users(self.fitted.n_items), np.random.default_rng(0))
        return FewShots(some, FEW, np.random.default_rng(0)).score(self, self._check)

    @property
    def _ratings(self) -> bool:
        return self.params.loss == "mse"

    # ---- adapting --------------------------------------------------------------------------------
    def _ready(self) -> None:
        import torch

        from ._losses import TaskLosses
        from ._network import World

        network = self.network.eval()
        with torch.no_grad():
            if self.texts is not None:
                network.texts.refresh()
            every = torch.arange(self.fitted.n_items, device=network.known.device).split(2**15)
            vectors, roles, biases = (torch.cat(part) for part in zip(*(network.items(codes) for codes in every), strict=True))
        self._world = World(vectors, roles, biases, torch.zeros_like(biases))
        self._losses = TaskLosses(network, self._world, self.resolved)
        self._public = None
        # Once, and not for every list: a pass over all interactions.
        self._mean, self._spread = (float(self.fitted.value.mean()), float(self.fitted.value.std()) or 1.0) if self._ratings else (0.0, 1.0)

    @property
    def item_vectors(self) -> np.ndarray:
        """float32 (I, d): the vector of every item; row i is item code i."""
        return self._world.vectors.cpu().numpy()

    @property
    def item_biases(self) -> np.ndarray:
        """float32 (I,): what every item's score has beside the product with a user's vector."""
        return self._world.biases.cpu().numpy()

    def new_item_vectors(self, table: pd.DataFrame) -> np.ndarray:
        """float32 (n, d) vectors of items the model has never seen, from a table with (some of) the item table's columns."""
        import torch

        with torch.no_grad():
            return self._told(table)[0].cpu().numpy()

    def _told(self, table: pd.DataFrame) -> tuple[Tensor, Tensor, Tensor]:
        """(vectors, roles, biases) of items from outside by their columns."""
        read = None if self.texts is None else self.network.texts.of_new(*reversed(self.texts.new(table)))
        return self.network.new_items(self.inputs.new_items(table), self.inputs.item_layout, read)

    def adapted_items(
        self, items: np.ndarray | pd.DataFrame, first: Histories, of: np.ndarray, users: np.ndarray | None = None, steps: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 (n, d) vectors and (n,) biases of n items by their columns and their first few users; ids count for nothing.

        items: codes, or rows with (some of) the item table's columns. first: the histories of all their first users, of (m,): which of
        the n items each has chosen; users as in `adapted_vectors`. steps: 0 = by their columns alone; None = the model's own number."""
        from ._item_use import adapted_items

        return adapted_items(self, items, first, of, users, steps)

    def adapted_vectors(self, histories: Histories, users: np.ndarray | None = None, steps: int | None = None) -> np.ndarray:
        """float32 (B, steps + 1, d): each user's vector before the first step and after every one (steps: the model's own when None).

        users: codes whose row of the user table is read, -1: none."""
        import torch

        from .._pairs import distinct
        from ._tasks import of_histories

        steps = self.resolved.inner_steps if steps is None else steps
        read = distinct(histories if self._ratings else histories.relevant(self.fitted.threshold), self.fitted.n_items)
        read = read.last(self.resolved.history)
        device = self._world.vectors.device
        codes = torch.full((len(read),), -1) if users is None else torch.as_tensor(np.asarray(users, np.int64))
        out, longest = [], max(1, int(read.lengths.max(initial=1))) if self.network.core.reads else 1
        with torch.no_grad():
            for rows in torch.arange(len(read)).split(max(1, CELLS // (longest * self.fitted.n_items))):
                told = self.network.users(codes[rows].to(device))
                tasks = of_histories(read.take(rows.numpy()), told, self._mean, self._spread, self._ratings)
                with _adapting:
                    out.append(self._losses.vectors(tasks, steps).cpu().numpy())
        return np.concatenate(out) if out else np.zeros((0, steps + 1, self.network.size), np.float32)

    def scores_after(self, histories: Histories, users: np.ndarray | None = None, steps: int | None = None) -> np.ndarray:
        """float32 (B, I): scores after so many adaptation steps; 0: the network as it is before any, None: the model's own number."""
        last = self.adapted_vectors(histories, users, steps)[:, -1]
        scores = last @ self.item_vectors.T + self._world.biases.cpu().numpy()
        return self._mean + self._spread * scores if self._ratings else scores

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self.scores_after(histories)

    def _table_scores(self, histories: Histories, users: np.ndarray) -> np.ndarray:
        return self.scores_after(histories, users)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self.scores_after(self.fitted.histories(users), users)

    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        if not self.predicts_ratings():
            raise Unsupported(f"{self.label} with loss={self.params.loss} ranks items and predicts no ratings.", "Set loss to mse.")
        who, at = np.unique(users, return_inverse=True)
        vectors = self.adapted_vectors(self.fitted.histories(who), who)[:, -1]
        scores = np.einsum("nd,nd->n", vectors[at], self.item_vectors[items]) + self._world.biases.cpu().numpy()[items]
        return self._mean + self._spread * scores

    def predicts_ratings(self) -> bool:
        return self._ratings

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' vectors."""
        return cosines(self.item_vectors, items)

    # ---- saved -----------------------------------------------------------------------------------
    def _state(self) -> dict[str, Any]:
        return super()._state() | self.inputs.state() | ({} if self.texts is None else self.texts.state())

    def _restore(self, state: dict[str, Any]) -> None:
        self.inputs, self.texts = Inputs.restore(state, self.fitted.n_users), ItemTexts.restore(state)
        super()._restore(state)
