"""Neural matrix factorisation: a product of user and item factors and a small network, added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ...data.dataset import Dataset, DatasetStats
from ...errors import Unsupported
from ...params import Params, param
from .._base import Cost, Source
from ._base import TrainingParams
from ._interaction import InteractionRecommender

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches


class NeuMFParams(TrainingParams):
    weight_decay: float = param(
        2e-4,
        ge=0,
        le=1,
        label="Weight decay",
        help="Pulls all weights towards zero; raise it when the validation result falls while the loss still improves.",
        tune=(1e-5, 1e-3, "log"),
    )
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
        0.3,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the users' and items' numbers switched off at each learning step, against learning by heart.",
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
        20,
        ge=1,
        le=1000,
        label="Steps for a new user",
        help="How many learning steps find the taste of a user the model has never seen. Too many learn the history by heart.",
        advanced=True,
    )


class NeuMF(InteractionRecommender):
    """Neural matrix factorisation.

    Source: He et al. 2017, https://arxiv.org/abs/1708.05031.
    Differs: sampled softmax over a user's choices by default instead of binary cross-entropy (which is
    an option); both branches are trained together, without pretraining; item bias.
    Cost: an epoch of softmax touches interactions + users × negatives pairs; see benchmarks/deep_speed.py.
    """

    key = "neumf"
    label = "Neural matrix factorisation (NeuMF)"
    summary = (
        "Learns tastes that are no plain sums from who chose what, and can predict ratings; slower than the autoencoder, seldom better."
    )
    source = Source("He, Liao, Zhang, Nie, Hu, Chua: Neural Collaborative Filtering (2017)", "https://arxiv.org/abs/1708.05031")
    Params = NeuMFParams

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        width = int(np.clip(2 ** np.round(np.log2(max(1.0, stats.n_interactions) ** 0.5 / 8)), 8, 64))
        if params.loss == "softmax":
            batch, negatives = int(np.clip(stats.n_users // 20, 8, 256)), min(512, stats.n_items)
        else:
            batch, negatives = int(np.clip(stats.n_interactions // 40, 64, 4096)), 4
        return {"factors": width, "hidden": min(width, 32), "batch_size": batch, "negatives": negatives}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        width = p.factors + p.hidden + 1
        per_step = p.batch_size * (p.negatives + stats.n_interactions / max(1, stats.n_users)) if p.loss == "softmax" else p.batch_size * 5
        pairs = stats.n_interactions + (stats.n_users if p.loss == "softmax" else stats.n_interactions) * p.negatives
        bitmap = min(256 * 2**20, stats.n_users * stats.n_items)
        memory = 20 * (stats.n_users + stats.n_items) * width + 16 * per_step * width + bitmap + 16 * stats.n_interactions
        return Cost(
            int(memory),
            2 + p.epochs * pairs * (10 * width + 3 * p.hidden**2) / 1e10,
            "passes × (interactions + users × items compared with)",
        )

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
