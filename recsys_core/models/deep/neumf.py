"""Neural matrix factorisation: a product of user and item factors and a small network, added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from ...params import Params, param
from .._base import Cost, Source
from ._base import DeepRecommender, TrainingParams

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches, Ragged

SCORE_BLOCK_FLOATS = 2**20  # users × items × hidden held at once when scoring: fits the CPU's cache
FOLD_IN_NEGATIVES = 512


class NeuMFParams(TrainingParams):
    factors: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=1024,
        label="Factors",
        help="How many numbers describe a user and an item in the product part. Automatic: by the number of interactions.",
        tune=(8, 128, "log"),
    )
    hidden: int | Literal["auto"] = param(
        "auto",
        ge=4,
        le=1024,
        label="Width of the network",
        help="Width of the first layer of the network part; each further layer is half as wide. Automatic: by the number of interactions.",
        tune=(8, 128, "log"),
    )
    layers: int = param(2, ge=1, le=6, label="Layers", help="Number of layers of the network part.", tune=(1, 4, "linear"))
    dropout: float = param(
        0.0,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the network's units switched off at each learning step, against learning by heart.",
        tune=(0.0, 0.6, "linear"),
    )
    loss: Literal["softmax", "bce", "mse"] = param(
        "softmax",
        label="What it learns",
        help="softmax: rank what a user chose above all else (best lists). bce: chosen or not, as in the paper. "
        "mse: predict the rating itself (needs ratings; for rating errors, not for lists).",
    )
    negatives: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=100_000,
        label="Items compared with",
        help="How many items nobody chose each step compares with: shared by the users of a step for softmax, for each choice for bce.",
        tune=(1, 1024, "log"),
        advanced=True,
    )
    popularity: float = param(
        0.0,
        ge=0,
        le=2,
        label="Compare with popular items",
        help="0: all items are equally likely to be compared with. 1: in proportion to their popularity.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
    )
    fold_in_steps: int = param(
        40,
        ge=1,
        le=1000,
        label="Steps for a new user",
        help="How many learning steps find the taste of a user the model has never seen.",
        advanced=True,
    )


class NeuMF(DeepRecommender):
    """Neural matrix factorisation.

    Source: He et al. 2017, https://arxiv.org/abs/1708.05031.
    Differs: sampled softmax over a user's choices by default instead of binary cross-entropy (which is
    an option); both branches are trained together, without pretraining; item bias.
    Cost: an epoch of softmax touches interactions + users × negatives pairs; see benchmarks/deep_speed.py.
    """

    key = "neumf"
    label = "Neural matrix factorisation (NeuMF)"
    summary = "Learns non-linear tastes from who chose what; can also predict ratings. Slower to score than the autoencoder, seldom better."
    source = Source("He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering (2017)", "https://arxiv.org/abs/1708.05031")
    Params = NeuMFParams

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        width = int(np.clip(2 ** np.round(np.log2(max(1.0, stats.n_interactions) ** 0.5 / 8)), 8, 64))
        if params.loss == "softmax":
            batch, negatives = int(np.clip(stats.n_users // 20, 8, 256)), min(512, stats.n_items)
        else:
            batch, negatives = int(np.clip(stats.n_interactions // 40, 64, 4096)), 4
        return {"factors": width, "hidden": width, "batch_size": batch, "negatives": negatives}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        width = p.factors + p.hidden + 1
        per_step = p.batch_size * (p.negatives + stats.n_interactions / max(1, stats.n_users)) if p.loss == "softmax" else p.batch_size * 5
        pairs = stats.n_interactions + (stats.n_users if p.loss == "softmax" else stats.n_interactions) * p.negatives
        bitmap = min(256 * 2**20, stats.n_users * stats.n_items)
        memory = 20 * (stats.n_users + stats.n_items) * width + 16 * per_step * width + bitmap + 16 * stats.n_interactions
        return Cost(int(memory), 2 + p.epochs * pairs * (10 * width + 3 * p.hidden**2) / 1e10, "passes × (interactions + users × items compared with)")

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        from ...nn.interaction import InteractionNet

        p = self.resolved
        return InteractionNet(n_users, n_items, p.factors, p.hidden, p.layers, p.dropout)

    # ---- learning --------------------------------------------------------------------------------
    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        if self.resolved.loss == "mse":
            return self._rating_objective(data, device)
        from ...nn.samplers import NegativeSampler, PairTable, popularity_weights

        positives = data.matrix("binary")
        weights = popularity_weights(data.item_counts, self.resolved.popularity) if self.resolved.popularity else None
        sampler = NegativeSampler(data.n_items, PairTable(positives, device), weights, device)
        objective = self._softmax_objective if self.resolved.loss == "softmax" else self._bce_objective
        return objective(positives, sampler, device)

    def _softmax_objective(self, positives: sparse.csr_matrix, sampler: Any, device: Any):
        """Batches of users: all their choices against negatives shared by the batch."""
        import torch

        from ...nn.batches import IndexBatches, SparseRows

        p, network = self.resolved, self.network
        rows = SparseRows(positives, device)
        active = torch.as_tensor(np.flatnonzero(np.diff(positives.indptr)), device=device)

        def loss(index: Tensor, step: int) -> Tensor:
            users = active[index]
            chosen = rows.take(users)
            drawn = sampler.draw((p.negatives,))
            excluded = sampler.positives.contains(users[:, None], drawn)
            return self._softmax(network.users(users), chosen, drawn, sampler.log_q[drawn], excluded)

        return IndexBatches(len(active), p.batch_size), loss

    def _softmax(
        self, vectors: Tensor, chosen: Ragged, drawn: Tensor, log_q: Tensor, excluded: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Mean over choices, or their weighted sum; also used to find the vectors of new users."""
        from ...nn.losses import sampled_logsumexp, softmax_against

        net, rows = self.network, chosen.rows
        against = sampled_logsumexp(net.block(vectors, *net.items(drawn)), log_q, excluded)
        positive = net.pairs(vectors[rows], *net.items(chosen.columns))
        return softmax_against(positive, against[rows], weights)

    def _bce_objective(self, positives: sparse.csr_matrix, sampler: Any, device: Any):
        """Batches of interactions, each with its own negatives."""
        import torch

        from ...nn.batches import IndexBatches, SparseRows
        from ...nn.losses import bce

        p, network = self.resolved, self.network
        every = SparseRows(positives, device).all()
        user, item = every.rows, every.columns

        def loss(index: Tensor, step: int) -> Tensor:
            users = user[index]
            drawn = sampler.negatives(users, p.negatives)
            none_left = drawn < 0
            items = torch.cat([item[index, None], drawn.clamp(min=0)], 1)
            vectors = network.users(users).repeat_interleave(items.shape[1], 0)
            scores = network.pairs(vectors, *network.items(items.flatten())).view(items.shape)
            return bce(scores[:, 0], scores[:, 1:], none_left)

        return IndexBatches(len(user), p.batch_size), loss

    def _rating_objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        """Batches of ratings; the network learns the difference from their mean."""
        import torch

        from ...nn.batches import IndexBatches
        from ...nn.losses import mse

        if data.feedback != "explicit":
            raise Unsupported(f"{self.label} with loss=mse predicts ratings; this dataset has none.", "Set loss to softmax.")
        network = self.network
        user, item = (torch.as_tensor(codes.astype(np.int64), device=device) for codes in (data.user, data.item))
        target = torch.as_tensor(data.value - data.value.mean(), device=device)

        def loss(index: Tensor, step: int) -> Tensor:
            return mse(network.pairs(network.users(user[index]), *network.items(item[index])), target[index])

        return IndexBatches(len(user), self.resolved.batch_size), loss

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
        """Where new users start: for each item the mean vector of the users who chose it."""
        chosen = self.fitted.matrix("binary").T.tocsr()
        users = self.network.user.weight.detach().cpu().numpy()
        self._start = (chosen @ users) / np.maximum(self.fitted.item_counts, 1)[:, None]

    @property
    def _device(self) -> torch.device:
        return self.network.user.weight.device

    def _scores(self, users: np.ndarray) -> np.ndarray:
        import torch

        return self._score_vectors(self.network.user.weight.detach()[torch.as_tensor(users, dtype=torch.int64, device=self._device)])

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._score_vectors(self._fold_in(histories))

    def _score_vectors(self, vectors: Tensor) -> np.ndarray:
        """float32 (B, I), computed in blocks of users that fit the cache."""
        import torch

        net = self.network
        out = torch.empty(len(vectors), self.fitted.n_items)
        with torch.inference_mode():
            items = net.item.weight, net.item_bias.weight.squeeze(1)
            rows = max(1, SCORE_BLOCK_FLOATS // (self.fitted.n_items * self.resolved.hidden))
            for start in range(0, len(vectors), rows):
                out[start : start + rows] = net.block(vectors[start : start + rows], *items)
        return (out + self._offset).numpy()

    @property
    def _offset(self) -> float:
        return float(self.fitted.value.mean()) if self.resolved.loss == "mse" else 0.0

    def _fold_in(self, histories: Histories) -> Tensor:
        """(B, f + h) vectors of users never seen: a few gradient steps from where similar users are."""
        import torch

        from ...nn.fold_in import descend

        rows = max(1, 4 * SCORE_BLOCK_FLOATS // (FOLD_IN_NEGATIVES * self.resolved.hidden))
        parts = []
        for start in range(0, len(histories), rows):
            part = histories.take(np.arange(start, min(start + rows, len(histories))))
            begin, objective = self._fold_in_rating(part) if self.resolved.loss == "mse" else self._fold_in_choice(part)
            parts.append(descend(torch.as_tensor(begin, device=self._device), objective, self.resolved.fold_in_steps))
        return torch.cat(parts)

    def _fold_in_choice(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """(start, loss): the softmax over a fixed uniform sample of items, the same for everyone."""
        import torch

        from ...nn.batches import SparseRows
        from ...nn.samplers import PairTable

        n_items, device = self.fitted.n_items, self._device
        matrix = self._positives(histories)
        chosen = SparseRows(matrix, device).all()
        sample = np.random.default_rng(0).permutation(n_items)[:FOLD_IN_NEGATIVES]
        drawn = torch.as_tensor(sample, device=device)
        log_q = torch.full((len(sample),), -float(np.log(n_items)), device=device)
        excluded = PairTable(matrix, device).contains(torch.arange(len(chosen), device=device)[:, None], drawn)
        weights = chosen.lengths.float().reciprocal()[chosen.rows]

        def loss(vectors: Tensor) -> Tensor:
            return self._softmax(vectors, chosen, drawn, log_q, excluded, weights)

        return self._mean_start(matrix), loss

    def _fold_in_rating(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """(start, loss): the squared errors of the history's ratings."""
        import torch

        net, device = self.network, self._device
        row, item = (torch.as_tensor(x.astype(np.int64), device=device) for x in (histories.row, histories.items))
        target = torch.as_tensor(histories.values - self._offset, device=device)
        weights = torch.as_tensor((1 / histories.lengths[histories.row]).astype(np.float32), device=device)

        def loss(vectors: Tensor) -> Tensor:
            return torch.dot(weights, (net.pairs(vectors[row], *net.items(item)) - target).square())

        return self._mean_start(histories.matrix(self.fitted.n_items)), loss

    def _mean_start(self, rows: sparse.csr_matrix) -> np.ndarray:
        return (rows @ self._start / np.maximum(np.diff(rows.indptr), 1)[:, None]).astype(np.float32)

    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        import torch

        if not self.predicts_ratings():
            raise Unsupported(f"{self.label} with loss={self.params.loss} ranks items and predicts no ratings.", "Set loss to mse.")
        net = self.network
        with torch.inference_mode():
            user, item = (torch.as_tensor(np.asarray(codes, np.int64), device=self._device).split(2**17) for codes in (users, items))
            parts = [net.pairs(net.users(u), *net.items(i)) for u, i in zip(user, item, strict=True)]
            return torch.cat(parts).cpu().numpy() + self._offset

    def predicts_ratings(self) -> bool:
        return self.params.loss == "mse"

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' vectors."""
        vectors = self.network.item.weight.detach().numpy()
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit[items] @ unit.T
