"""Variational autoencoder with a multinomial likelihood: reads a user's whole history, gives all scores at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...params import Params, param
from .._base import Cost, Source
from ._base import DeepRecommender, TrainingParams

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches


HIDDEN_FROM_USERS = 20_000  # with fewer, hidden layers have too little to learn from


class MultVAEParams(TrainingParams):
    learning_rate: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=1,
        label="Learning rate",
        help="Size of each learning step. Automatic: 0.003 for the linear network, 0.001 for the one with hidden layers.",
        tune=(1e-4, 1e-2, "log"),
    )
    averaging: float = param(
        0.99,
        ge=0,
        lt=1,
        label="Averaging of the weights",
        help="Keeps a moving average of the network instead of its last state, which is steadier. 0 = off, 0.99 = over some 100 steps.",
        advanced=True,
    )
    hidden: int | Literal["auto"] = param(
        "auto",
        ge=4,
        le=8192,
        label="Hidden units",
        help="Width between history and taste. Wider tells more tastes apart, but is slower. Automatic: by the number of items.",
        tune=(64, 1024, "log"),
    )
    latent: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=4096,
        label="Taste dimensions",
        help="How many numbers describe one user's taste. Automatic: by the number of users and items.",
        tune=(16, 512, "log"),
    )
    network: Literal["linear", "hidden"] | Literal["auto"] = param(
        "auto",
        label="Network",
        help="hidden: one more layer between history and taste and between taste and scores, as in the paper; "
        "linear: none, which learns faster and ranks better on small data. Automatic: linear below 20,000 users.",
        advanced=True,
    )
    dropout: float = param(
        0.4,
        ge=0,
        lt=1,
        label="History hidden while learning",
        help="Share of each history that is hidden at every step, so that the model learns to guess what is missing.",
        tune=(0.1, 0.8, "linear"),
    )
    beta: float = param(
        0.7,
        ge=0,
        le=10,
        label="Strength of smoothing (beta)",
        help="How strongly tastes are pulled together: high for little data, low for much data.",
        tune=(0.01, 1.0, "log"),
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
    anneal_steps: int | Literal["auto"] = param(
        "auto",
        ge=0,
        le=10_000_000,
        label="Steps until full smoothing",
        help="The smoothing grows from nothing to its full strength over this many learning steps. Automatic: by the number of users.",
        advanced=True,
    )


def _network(n_items: int, hidden: int, latent: int, dropout: float) -> nn.Module:
    """hidden = 0: no hidden layers."""
    import torch
    from torch import nn

    from ...nn.blocks import MLP, BagOfItems

    class MultVAENet(nn.Module):
        """history -> [tanh(hidden) ->] mean, log-variance of the taste -> [tanh(hidden) ->] logits of all items."""

        def __init__(self) -> None:
            super().__init__()
            self.read = BagOfItems(n_items, hidden or 2 * latent, dropout)
            self.taste = nn.Sequential(nn.Tanh(), nn.Linear(hidden, 2 * latent)) if hidden else nn.Identity()
            self.decoder = MLP([latent, hidden, n_items] if hidden else [latent, n_items], nn.Tanh)
            for layer in (m for part in (self.taste, self.decoder) for m in part.modules() if isinstance(m, nn.Linear)):
                nn.init.xavier_normal_(layer.weight)
                nn.init.trunc_normal_(layer.bias, std=0.001, a=-0.002, b=0.002)

        def encode(self, rows) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.taste(self.read(rows)).chunk(2, dim=1)
            return mean, log_variance  # (B, Z) each

        def forward(self, rows) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_variance = self.encode(rows)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
            return self.decoder(z), mean, log_variance  # (B, I), (B, Z), (B, Z)

    return MultVAENet()


class MultVAE(DeepRecommender):
    """Multinomial variational autoencoder.

    Source: Liang et al. 2018, https://arxiv.org/abs/1802.05814.
    Differs: on small data encoder and decoder are linear (the decoder as in RecVAE, Shenbin et al. 2020,
    https://arxiv.org/abs/1912.11160) and the weights are averaged over the last steps; a user's likelihood
    is divided by a power of their activity, since the figures are means over users. What each buys:
    benchmarks/mult_vae_ablation.py. Sizes, batch and annealing follow the size of the data; the sparse
    history is read entry by entry (same result, fewer multiplications); scores are log-probabilities.
    Cost: an epoch is about 6 · users · items · width multiplications; 6,000 × 3,700 with 1 million
    interactions see benchmarks/deep_speed.py.
    """

    key = "mult_vae"
    label = "Variational autoencoder (Mult-VAE)"
    summary = "The strongest neural model here for likes and clicks; works at once for new users with a few interactions, needs no times."
    source = Source(
        "Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering (2018)", "https://arxiv.org/abs/1802.05814"
    )
    Params = MultVAEParams

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        hidden = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_items) / 4)), 32, 600))
        latent = int(np.clip(16 * round(np.sqrt(stats.n_users) / 4), 16, min(256, hidden)))
        batch = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 10)), 8, 512))
        steps = -(-stats.n_users // (batch if params.batch_size == "auto" else params.batch_size))
        network = params.network if params.network != "auto" else ("hidden" if stats.n_users >= HIDDEN_FROM_USERS else "linear")
        rate = 0.001 if network == "hidden" else 0.003
        sizes = {"hidden": hidden, "latent": latent, "batch_size": batch, "anneal_steps": 20 * steps}
        return sizes | {"network": network, "learning_rate": rate}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        width = p.hidden if p.network == "hidden" else 1.5 * p.latent
        weights = int(4 * (2 * width * (stats.n_items + 2 * p.latent)))
        batch = 4 * p.batch_size * stats.n_items
        operations = 6.0 * p.epochs * stats.n_users * stats.n_items * (width + 20)
        return Cost(6 * weights + 4 * batch + 16 * stats.n_interactions, 2 + operations / 4e10, "users × items × width × passes")

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.hidden if p.network == "hidden" else 0, p.latent, p.dropout)

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        import torch

        from ...nn.batches import IndexBatches, SparseRows
        from ...nn.losses import gaussian_kl, multinomial_nll

        p, network = self.resolved, self.network
        active = np.flatnonzero(data.user_counts)
        rows = SparseRows(data.matrix("binary")[active], device)
        say = (data.user_counts[active] ** -p.activity_damping).astype(np.float32)
        weight = torch.as_tensor(say / say.mean(), device=device)

        def loss(index: Tensor, step: int) -> Tensor:
            chosen = rows.take(index)
            logits, mean, log_variance = network(chosen)
            beta = p.beta * min(1.0, step / p.anneal_steps) if p.anneal_steps else p.beta
            return torch.add(multinomial_nll(logits, chosen, weight[index]), gaussian_kl(mean, log_variance), alpha=beta)

        return IndexBatches(len(active), p.batch_size), loss

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._score_rows(self._positives(histories))

    def _score_rows(self, rows: sparse.csr_matrix) -> np.ndarray:
        """float32 (B, I): log-probability of every item as the next choice of each row."""
        import torch

        from ...nn.batches import SparseRows

        with torch.inference_mode():
            logits, _, _ = self.network(SparseRows(rows, next(self.network.parameters()).device).all())
            return logits.log_softmax(1).cpu().numpy()

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' columns in the last layer: what the decoder finds alike."""
        vectors = self.network.decoder.layers[-1].weight.detach().numpy()
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit[items] @ unit.T
