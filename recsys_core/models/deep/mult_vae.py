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


class MultVAEParams(TrainingParams):
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
    dropout: float = param(
        0.5,
        ge=0,
        lt=1,
        label="History hidden while learning",
        help="Share of each history that is hidden at every step, so that the model learns to guess what is missing.",
        tune=(0.1, 0.8, "linear"),
    )
    beta: float = param(
        0.5,
        ge=0,
        le=10,
        label="Strength of smoothing (beta)",
        help="How strongly tastes are pulled together: high for little data, low for much data.",
        tune=(0.01, 1.0, "log"),
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
    import torch
    from torch import nn

    from ...nn.blocks import MLP, BagOfItems

    class MultVAENet(nn.Module):
        """history -> tanh(hidden) -> mean, log-variance of the taste -> tanh(hidden) -> logits of all items."""

        def __init__(self) -> None:
            super().__init__()
            self.read = BagOfItems(n_items, hidden, dropout)
            self.taste = nn.Linear(hidden, 2 * latent)
            self.decoder = MLP([latent, hidden, n_items], nn.Tanh)
            for layer in (self.taste, *(m for m in self.decoder.modules() if isinstance(m, nn.Linear))):
                nn.init.xavier_normal_(layer.weight)
                nn.init.trunc_normal_(layer.bias, std=0.001, a=-0.002, b=0.002)

        def encode(self, rows) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.taste(torch.tanh(self.read(rows))).chunk(2, dim=1)
            return mean, log_variance  # (B, Z) each

        def forward(self, rows) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_variance = self.encode(rows)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
            return self.decoder(z), mean, log_variance  # (B, I), (B, Z), (B, Z)

    return MultVAENet()


class MultVAE(DeepRecommender):
    """Multinomial variational autoencoder.

    Source: Liang et al. 2018, https://arxiv.org/abs/1802.05814.
    Differs: sizes, batch and annealing follow the size of the data instead of being fixed; the sparse
    history is read entry by entry (same result, fewer multiplications); scores are log-probabilities.
    Cost: an epoch is about 6 · users · items · hidden multiplications; 6,000 × 3,700 with 1 million
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
        latent = int(np.clip(8 * round(np.sqrt(stats.n_users) / 4), 16, min(200, hidden)))
        batch = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 10)), 8, 512))
        steps = -(-stats.n_users // (batch if params.batch_size == "auto" else params.batch_size))
        return {"hidden": hidden, "latent": latent, "batch_size": batch, "anneal_steps": 20 * steps}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        weights = 4 * (2 * p.hidden * (stats.n_items + 2 * p.latent))
        batch = 4 * p.batch_size * stats.n_items
        operations = 6.0 * p.epochs * stats.n_users * stats.n_items * p.hidden
        return Cost(5 * weights + 4 * batch + 16 * stats.n_interactions, 2 + operations / 4e10, "users × items × hidden units × passes")

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.hidden, p.latent, p.dropout)

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        import torch

        from ...nn.batches import IndexBatches, SparseRows
        from ...nn.losses import gaussian_kl, multinomial_nll

        p, network = self.resolved, self.network
        active = np.flatnonzero(data.user_counts)
        rows = SparseRows(data.matrix("binary")[active], device)

        def loss(index: Tensor, step: int) -> Tensor:
            chosen = rows.take(index)
            logits, mean, log_variance = network(chosen)
            beta = p.beta * min(1.0, step / p.anneal_steps) if p.anneal_steps else p.beta
            return torch.add(multinomial_nll(logits, chosen), gaussian_kl(mean, log_variance), alpha=beta)

        return IndexBatches(len(active), p.batch_size), loss

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._score_rows(self.fitted.matrix("binary")[users])

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
