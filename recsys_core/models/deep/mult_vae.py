"""Variational autoencoder with a multinomial likelihood: reads a user's whole history, gives all scores at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ...data.dataset import DatasetStats
from ...params import Params, param
from .._base import Cost, Source
from ._autoencoder import Autoencoder, HiddenAutoencoderParams, start_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import Ragged
    from ._autoencoder_bundle import Layers


class MultVAEParams(HiddenAutoencoderParams):
    network: Literal["linear", "hidden"] | Literal["auto"] = param(
        "auto",
        label="Network",
        help="hidden: one more layer between history and taste and between taste and scores, as in the paper; "
        "linear: none, which learns faster and ranks better on small data. Automatic: linear below 20,000 users.",
        advanced=True,
    )
    beta: float = param(
        0.7,
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
            start_layers([self.taste, self.decoder])

        def encode(self, rows) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.taste(self.read(rows)).chunk(2, dim=1)
            return mean, log_variance  # (B, Z) each

        def forward(self, rows) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_variance = self.encode(rows)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
            return self.decoder(z), mean, log_variance  # (B, I), (B, Z), (B, Z)

    return MultVAENet()


class MultVAE(Autoencoder):
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
    summary = "The neural model to try first for likes and clicks; works at once for new users with a few interactions, needs no times."
    source = Source(
        "Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering (2018)", "https://arxiv.org/abs/1802.05814"
    )
    Params = MultVAEParams

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        sizes = super().auto_params(params, stats)
        batch = sizes["batch_size"] if params.batch_size == "auto" else params.batch_size
        return sizes | {"anneal_steps": 20 * -(-stats.n_users // batch)}

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

    def _layers(self) -> Layers:
        network, p = self.network, self.resolved
        if p.network != "hidden":
            return self._around(network.read, width=p.latent)
        from .._pruning import linear

        taste, before = network.taste[1], network.decoder.layers
        mean = linear(taste.weight.detach().numpy()[: p.latent], taste.bias.detach().numpy()[: p.latent])
        return self._around(network.read, "tanh", (mean, before[0], before[1]))

    def _loss(self, chosen: Ragged, weight: Tensor, step: int) -> Tensor:
        import torch

        from ...nn.losses import gaussian_kl, multinomial_nll

        p = self.resolved
        logits, mean, log_variance = self.network(chosen)
        beta = p.beta * min(1.0, step / p.anneal_steps) if p.anneal_steps else p.beta
        return torch.add(multinomial_nll(logits, chosen, weight), gaussian_kl(mean, log_variance), alpha=beta)
