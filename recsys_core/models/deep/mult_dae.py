"""Denoising autoencoder with a multinomial likelihood: guesses the hidden part of a history from the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ...data.dataset import DatasetStats
from ...params import Params, param
from .._base import Cost, Source
from ._autoencoder import HIDDEN_FROM_USERS, Autoencoder, AutoencoderParams, start_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import Ragged
    from ._autoencoder_bundle import Layers


class MultDAEParams(AutoencoderParams):
    learning_rate: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=1,
        label="Learning rate",
        help="Size of each learning step. Automatic: 0.003 below 20,000 users, else 0.001.",
        tune=(1e-4, 1e-2, "log"),
    )
    dropout: float = param(
        0.75,
        ge=0,
        lt=1,
        label="History hidden while learning",
        help="Share of each history that is hidden at every step; without chance in the taste it has to be large.",
        tune=(0.3, 0.9, "linear"),
    )
    network: Literal["tanh", "linear"] = param(
        "tanh",
        label="Network",
        help="tanh: a bend at the taste, as in the paper; linear: none.",
        advanced=True,
    )


def _network(n_items: int, latent: int, dropout: float, bent: bool) -> nn.Module:
    from torch import nn

    from ...nn.blocks import MLP, BagOfItems

    class MultDAENet(nn.Module):
        """history -> taste [-> tanh] -> logits of all items."""

        def __init__(self) -> None:
            super().__init__()
            self.read = BagOfItems(n_items, latent, dropout)
            self.bend = nn.Tanh() if bent else nn.Identity()
            self.decoder = MLP([latent, n_items])
            start_layers([self.decoder])

        def forward(self, rows) -> tuple[Tensor]:
            return (self.decoder(self.bend(self.read(rows))),)  # (B, I)

    return MultDAENet()


class MultDAE(Autoencoder):
    """Multinomial denoising autoencoder: Mult-VAE without chance in the taste and without smoothing.

    Source: Liang et al. 2018, https://arxiv.org/abs/1802.05814 (section 2.3; I -> latent -> I).
    Differs: as Mult-VAE here: averaged weights, a user's likelihood divided by a power of their activity, sparse
    reading; more dropout instead of weight decay.
    Cost: an epoch is about 6 · users · items · width multiplications.
    """

    key = "mult_dae"
    label = "Denoising autoencoder (Mult-DAE)"
    summary = "Ranks slightly below the variational autoencoder, learns in half its time, has fewer settings: a quick first neural model."
    source = Source(
        "Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering (2018)", "https://arxiv.org/abs/1802.05814"
    )
    Params = MultDAEParams

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return super().auto_params(params, stats) | {"learning_rate": 0.003 if stats.n_users < HIDDEN_FROM_USERS else 0.001}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        weights = 4 * (2 * p.latent + 1) * stats.n_items
        batch = 4 * p.batch_size * stats.n_items
        operations = 6.0 * p.epochs * stats.n_users * stats.n_items * (p.latent + 20)
        return Cost(6 * weights + 4 * batch + 16 * stats.n_interactions, 2 + operations / 4e10, "users × items × width × passes")

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.latent, p.dropout, p.network == "tanh")

    def _layers(self) -> Layers:
        return self._around(self.network.read, "tanh" if self.resolved.network == "tanh" else "none")

    def _loss(self, chosen: Ragged, weight: Tensor, step: int) -> Tensor:
        from ...nn.losses import multinomial_nll

        return multinomial_nll(self.network(chosen)[0], chosen, weight)
