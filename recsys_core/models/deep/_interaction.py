"""Models whose score is a network of one user vector and one item vector: sizes, scoring, fold-in, ratings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from ...params import Params
from .._base import Cost
from .._portable import Portable
from .._vectors import cosines
from ._base import VALIDATION_USERS, DeepRecommender
from ._interaction_objectives import Objective, choice_loss, pair_objective, rating_objective, softmax_objective
from ._interaction_params import InteractionParams, auto_negatives
from ._sampling import auto_sampling

if TYPE_CHECKING:
    from torch import Tensor

SCORE_BLOCK_FLOATS = 2**20  # users × items × hidden held at once when scoring: fits the CPU's cache
FOLD_IN_ITEMS = 512


class InteractionRecommender(DeepRecommender):
    """`network` is an `nn.interaction.PairNet`; a model declares `factors`, `hidden` and `layers`, as far as it has them.

    A user never seen gets a vector by a few gradient steps on it with everything else fixed, for all
    users of a block at once.
    """

    Params = InteractionParams
    left_out_at_most = 50
    all_items_pairs: ClassVar[int] = 2**19  # up to which softmax compares with all items; see `auto_negatives`
    lazy_tables: ClassVar[tuple[str, ...]] = ("user", "item", "item_bias")
    _held: int | None = None  # a number of the users' vectors that is the same for all items

    # ---- sizes -----------------------------------------------------------------------------------
    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        width = int(np.clip(2 ** np.round(np.log2(max(1.0, stats.n_interactions) ** 0.5 / 8)), 8, 64))
        softmax = params.loss == "softmax"
        examples = stats.n_users if softmax else stats.n_interactions
        batch = int(np.clip(examples // 20, 8, 256) if softmax else np.clip(examples // 40, 64, 4096))
        steps = max(1.0, examples / (batch if params.batch_size == "auto" else params.batch_size))
        # AdamW's decay is a step's: with more steps a pass, rows that are seldom looked up would fade between two looks.
        decay = min(0.1 if params.loss == "mse" else 0.4, 8 / steps) if params.optimizer == "adamw" else 2e-4
        sampling = auto_sampling(params, stats, shared=softmax) | {"negatives": auto_negatives(params, stats, cls.all_items_pairs)}
        return sampling | {"factors": width, "hidden": min(width, 32), "batch_size": batch, "weight_decay": decay}

    def resolve(self, stats: DatasetStats) -> Params:
        if getattr(self.params, "loss", "") == "mse" and not stats.has_ratings:
            raise Unsupported(f"{self.label} with loss=mse predicts ratings; this dataset has none.", "Set loss to softmax.")
        return super().resolve(stats)

    def _sizes(self, params: Params | None = None) -> tuple[int, int, int]:
        """(factors, hidden, layers) of resolved params; 0 for a branch the model has not."""
        p = params or self.resolved
        return getattr(p, "factors", 0), getattr(p, "hidden", 0), getattr(p, "layers", 0)

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        factors, hidden, _ = self._sizes(p)
        width, softmax = factors + hidden + 1, p.loss == "softmax"
        drawn = 0 if p.loss == "mse" else p.negatives
        per_step = p.batch_size * (drawn + (stats.n_interactions / max(1, stats.n_users) if softmax else 1))
        bitmap = min(256 * 2**20, stats.n_users * stats.n_items)
        tables = 24 * (stats.n_users + stats.n_items) * width
        memory = tables + 4 * per_step * (2 * width + 8) + bitmap + 16 * stats.n_interactions
        return Cost(int(memory), 2 + p.epochs * self._pass_seconds(stats, p), "passes × (interactions + users × items compared with)")

    def _pass_seconds(self, stats: DatasetStats, p: Params) -> float:
        """Of a pass with its validation. A run makes passes twice, but rarely all of them: early stopping makes up for that."""
        factors, hidden, _ = self._sizes(p)
        softmax, drawn = p.loss == "softmax", 0 if p.loss == "mse" else p.negatives
        pairs = stats.n_interactions + (stats.n_users if softmax else stats.n_interactions) * drawn
        validated = min(stats.n_users, VALIDATION_USERS) * stats.n_items
        work = pairs * (200 + 4 * factors + 15 * hidden + 3 * hidden**2) + validated * (100 + factors + 5 * hidden + hidden**2)
        return work / 1e10

    def _build(self, n_users: int, n_items: int) -> Any:
        from ...nn.interaction import InteractionNet

        return InteractionNet(n_users, n_items, *self._sizes(), self.resolved.dropout)

    # ---- learning --------------------------------------------------------------------------------
    def _objective(self, data: Dataset, device: Any) -> Objective:
        kinds = {"softmax": softmax_objective, "mse": rating_objective}
        return kinds.get(self.resolved.loss, pair_objective)(self, data, device)

    def _unlearnt(self, data: Dataset, device: Any) -> Tensor | None:
        """bool (I,): items that are no negatives though nobody chose them, since the model tells them by what they are."""
        return None

    def _validation_metric(self, validation: Holdout | None) -> tuple[str, bool]:
        if self.resolved.loss == "mse" and validation is not None and not validation.cold:
            return "rmse", False
        return super()._validation_metric(validation)

    def _validation_score(self, validation: Holdout) -> float:
        if self._validation_metric(validation)[0] != "rmse":
            return super()._validation_score(validation)
        truth = validation.truth
        return float(np.sqrt(np.mean((self._rating(truth.user, truth.item) - truth.value) ** 2)))

    # ---- scoring ---------------------------------------------------------------------------------
    def _ready(self) -> None:
        """Everyone's vectors, and where new users start: for each item the mean vector of the users who chose it."""
        self._users, (self._items, self._item_bias) = self.network.user_vectors(), self.network.item_vectors()
        chosen = self.fitted.matrix("binary").T  # csc: the product needs no copy
        self._start = (chosen @ self._users.cpu().numpy()) / np.maximum(self.fitted.item_counts, 1)[:, None]

    def _fixed_items(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        return self._items[codes], self._item_bias[codes]

    def _scores(self, users: np.ndarray) -> np.ndarray:
        import torch

        vectors = self._users[torch.as_tensor(users, dtype=torch.int64, device=self._users.device)]
        # Who has no positive was never trained on: their vector is that of their history, as for a new user.
        untrained = np.flatnonzero(self.fitted.user_counts[users] == 0) if self.resolved.loss != "mse" else []
        if len(untrained):
            vectors[untrained] = self._fold_in(self.fitted.histories(users[untrained]))
        return self._score_vectors(vectors)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._score_vectors(self._fold_in(histories))

    def _score_vectors(self, vectors: Tensor) -> np.ndarray:
        """float32 (B, I), computed in blocks of users that fit the cache."""
        import torch

        out = torch.empty(len(vectors), self.fitted.n_items)
        with torch.inference_mode():
            rows = self._rows_of(self.fitted.n_items, 1)
            for start in range(0, len(vectors), rows):
                out[start : start + rows] = self.network.block(vectors[start : start + rows], self._items, self._item_bias)
        return (out + self._offset).numpy()

    def _rows_of(self, n_items: int, blocks: int) -> int:
        """Users of which `blocks` blocks are held at once."""
        return max(1, blocks * SCORE_BLOCK_FLOATS // (n_items * max(1, self.network.split[1])))

    @property
    def _offset(self) -> float:
        return float(self.fitted.value.mean()) if self.resolved.loss == "mse" else 0.0

    def _fold_in(self, histories: Histories) -> Tensor:
        """(B, f + h) vectors of users never seen: a few gradient steps from where similar users are."""
        import torch

        from ...nn.fold_in import descend

        rows = self._rows_of(FOLD_IN_ITEMS, 4)
        parts = []
        for start in range(0, len(histories), rows):
            part = histories.take(np.arange(start, min(start + rows, len(histories))))
            begin, objective = self._fold_in_rating(part) if self.resolved.loss == "mse" else self._fold_in_choice(part)
            parts.append(descend(torch.as_tensor(begin, device=self._users.device), objective, self.resolved.fold_in_steps))
        return torch.cat(parts)

    def _fold_in_choice(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """(start, loss): the softmax over a fixed uniform sample of items, the same for everyone."""
        import torch

        from ...nn.batches import SparseRows
        from ...nn.samplers import Drawn, PairTable

        n_items, device = self.fitted.n_items, self._users.device
        matrix = self._positives(histories)
        chosen = SparseRows(matrix, device).all()
        sample = torch.as_tensor(np.random.default_rng(0).permutation(n_items)[:FOLD_IN_ITEMS], device=device)
        excluded = PairTable(matrix, device).contains(torch.arange(len(chosen), device=device)[:, None], sample)
        drawn = Drawn(sample, torch.full((len(sample),), -float(np.log(n_items)), device=device), excluded)
        weights = chosen.lengths.float().reciprocal()[chosen.rows]

        def loss(vectors: Tensor) -> Tensor:
            return choice_loss(self.network, vectors, chosen, drawn, self._fixed_items, weights)

        return self._mean_start(matrix), loss

    def _fold_in_rating(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """(start, loss): the squared errors of the history's ratings."""
        import torch
        import torch.nn.functional as F

        net, device = self.network, self._users.device
        row, item = (torch.as_tensor(x.astype(np.int64), device=device) for x in (histories.row, histories.items))
        target = torch.as_tensor(histories.values - self._offset, device=device)
        weights = torch.as_tensor((1 / histories.lengths[histories.row]).astype(np.float32), device=device)
        known = self._fixed_items(item)

        def loss(vectors: Tensor) -> Tensor:
            return torch.dot(weights, (net.pairs(F.embedding(row, vectors), *known) - target).square())

        return self._mean_start(histories.matrix(self.fitted.n_items)), loss

    def _mean_start(self, rows: sparse.csr_matrix) -> np.ndarray:
        return (rows @ self._start / np.maximum(np.diff(rows.indptr), 1)[:, None]).astype(np.float32)

    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        import torch

        if not self.predicts_ratings():
            raise Unsupported(f"{self.label} with loss={self.params.loss} ranks items and predicts no ratings.", "Set loss to mse.")
        with torch.inference_mode():
            user, item = (torch.as_tensor(np.asarray(codes, np.int64), device=self._users.device).split(2**17) for codes in (users, items))
            parts = [self.network.pairs(self._users[u], *self._fixed_items(i)) for u, i in zip(user, item, strict=True)]
            return torch.cat(parts).cpu().numpy() + self._offset

    def predicts_ratings(self) -> bool:
        return self.params.loss == "mse"

    def _portable(self) -> Portable:
        from ._interaction_bundle import pack

        return pack(self, FOLD_IN_ITEMS, self._held)

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' vectors."""
        return cosines(self._item_directions(), items)

    def _item_directions(self) -> np.ndarray:
        """(I, d): the vectors whose angles say how alike items are."""
        return self._items.numpy()
