"""Denoising autoencoder with a multinomial likelihood: guesses the hidden part of a history from the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ...data.dataset import DatasetStats
from ...params import param
from .._base import Cost, Source
from ._autoencoder import Autoencoder, AutoencoderParams, start_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import Ragged


class MultDAEParams(AutoencoderParams):
    network: Literal["linear", "tanh"] | Literal["auto"] = param(
        "auto",
        label="Network",
        help="tanh: a bend at the taste, as in the paper; linear: none, which learns faster and ranks better on small data. "
        "Automatic: linear below 20,000 users.",
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
    Differs: as Mult-VAE here: linear on small data, averaged weights, a user's likelihood divided by a power
    of their activity, sparse reading.
    Cost: an epoch is about 6 · users · items · width multiplications.
    """

    key = "mult_dae"
    label = "Denoising autoencoder (Mult-DAE)"
    summary = "Like the variational autoencoder with one setting less to tune; prefer that one unless users have long histories."
    source = Source(
        "Liang, Krishnan, Hoffman, Jebara: Variational Autoencoders for Collaborative Filtering (2018)", "https://arxiv.org/abs/1802.05814"
    )
    Params = MultDAEParams
    deep_network = "tanh"

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        weights = 4 * (2 * p.latent + 1) * stats.n_items
        batch = 4 * p.batch_size * stats.n_items
        operations = 6.0 * p.epochs * stats.n_users * stats.n_items * (p.latent + 20)
        return Cost(6 * weights + 4 * batch + 16 * stats.n_interactions, 2 + operations / 4e10, "users × items × width × passes")

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.latent, p.dropout, p.network == "tanh")

    def _loss(self, chosen: Ragged, weight: Tensor, step: int) -> Tensor:
        from ...nn.losses import multinomial_nll

        return multinomial_nll(self.network(chosen)[0], chosen, weight)
