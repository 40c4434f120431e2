"""RecVAE: a variational autoencoder whose smoothing follows each user and remembers its own last state."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ...data.dataset import DatasetStats
from ...params import Params, param
from .._base import Cost, Source
from ._autoencoder import Autoencoder, HiddenAutoencoderParams, start_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import Ragged
    from ._autoencoder_bundle import Layers


WIDE = 10.0  # log-variance of the wide normal in the prior
WIDE_WEIGHT = 0.1


class RecVAEParams(HiddenAutoencoderParams):
    network: Literal["linear", "dense"] | Literal["auto"] = param(
        "auto",
        label="Network",
        help="dense: five hidden layers between history and taste, each fed by all before it, as in the paper; "
        "linear: none, which learns faster and ranks better on small data. Automatic: linear below 20,000 users.",
        advanced=True,
    )
    gamma: float = param(
        0.02,
        ge=0,
        le=1,
        label="Strength of smoothing (gamma)",
        help="How strongly tastes are pulled together, for each interaction of a user: high for little data, low for much data.",
        tune=(0.0005, 0.05, "log"),
    )
    memory: float = param(
        0.3,
        gt=0,
        le=0.85,
        label="Memory of the prior",
        help="How much tastes are held near the model's own last state (at most 0.85; 0.75 in the paper) instead of pulled together.",
        tune=(0.05, 0.85, "linear"),
        advanced=True,
    )
    encoder_passes: int | Literal["auto"] = param(
        "auto",
        ge=0,
        le=20,
        label="Passes of the reader per pass of the writer",
        help="The half that reads histories learns for this many passes, then the half that writes scores for one. "
        "0 = both together, which ranks better on small data. Automatic: 0 for the linear network, 3 for the dense one.",
        advanced=True,
    )


def log_normal(z: Tensor, mean: Tensor | float, log_variance: Tensor | float) -> Tensor:
    """Log-density of N(mean, exp(log_variance)) at z, entry by entry."""
    import torch

    precision = torch.exp(-torch.as_tensor(log_variance))
    return -0.5 * ((z - mean).square() * precision + log_variance + math.log(2 * math.pi))


def composite_log_prior(z: Tensor, old_mean: Tensor, old_log_variance: Tensor, weights: Sequence[float]) -> Tensor:
    """Log-density of the mixture of a standard normal, the old posterior and a wide normal, entry by entry.

    Source: Shenbin et al. 2020, eq. 8, as in the authors' code: the mixture is taken in each dimension, with a third, wide part.
    Shapes: (B, Z) each, the three weights sum to 1 -> (B, Z).
    """
    import torch

    parts = (log_normal(z, 0.0, 0.0), log_normal(z, old_mean, old_log_variance), log_normal(z, 0.0, WIDE))
    return torch.stack([part + math.log(weight) for part, weight in zip(parts, weights, strict=True)]).logsumexp(0)


def _network(n_items: int, hidden: int, latent: int, dropout: float) -> nn.Module:
    """hidden = 0: a linear encoder."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    from ...nn.blocks import MLP, BagOfItems

    class LinearEncoder(nn.Module):
        """history -> mean, log-variance of the taste."""

        def __init__(self, dropout: float) -> None:
            super().__init__()
            self.read = BagOfItems(n_items, 2 * latent, dropout)

        def forward(self, rows) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.read(rows).chunk(2, dim=1)
            return mean, log_variance  # (B, Z) each

    class DenseEncoder(nn.Module):
        """The same through five layers, norm(swish(layer(last) + all before)), each as wide as `hidden`."""

        def __init__(self, dropout: float) -> None:
            super().__init__()
            self.read = BagOfItems(n_items, hidden, dropout)
            self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(4))
            self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=0.1) for _ in range(5))
            self.taste = nn.Linear(hidden, 2 * latent)

        def forward(self, rows) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.taste(self.hidden(self.read(rows))).chunk(2, dim=1)
            return mean, log_variance  # (B, Z) each

        def hidden(self, read: Tensor) -> Tensor:
            last = before = self.norms[0](F.silu(read))  # (B, hidden)
            for layer, norm in zip(self.layers, self.norms[1:], strict=True):
                last = norm(F.silu(layer(last) + before))
                before = before + last
            return last  # (B, hidden)

    encoder = DenseEncoder if hidden else LinearEncoder

    class RecVAENet(nn.Module):
        """history -> encoder -> taste -> linear decoder -> logits of all items. `old`: the encoder as it was, never learning."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder(dropout)
            self.decoder = MLP([latent, n_items])
            start_layers([self.decoder])
            self.old = encoder(0.0).requires_grad_(False)
            self.remember()

        def remember(self) -> None:
            self.old.load_state_dict(self.encoder.state_dict())

        def forward(self, rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            mean, log_variance = self.encoder(rows)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
            return self.decoder(z), z, mean, log_variance  # (B, I), (B, Z), (B, Z), (B, Z)

    return RecVAENet()


def _hidden_layers(encoder: nn.Module) -> nn.Module:
    """What a dense encoder does between its first and its last layer: (B, hidden) -> (B, hidden)."""
    from torch import nn

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = copy.deepcopy(encoder, {id(encoder.read): None})  # taken for copied, as nothing

        def forward(self, read: Tensor) -> Tensor:
            return self.encoder.hidden(read)

    return Hidden()


class RecVAE(Autoencoder):
    """Recommender VAE.

    Source: Shenbin et al. 2020, https://arxiv.org/abs/1912.11160; where text and code differ, the authors' code.
    Encoder and decoder learn in turn: some passes over the data for the encoder, on histories with dropout, then
    one for the decoder, on whole histories; before it the encoder is copied into the prior. The smoothing of a
    user is gamma times their number of interactions. A pass of this project's loop is one pass of one half.
    Differs: as Mult-VAE here: a linear encoder on small data, averaged weights, and what a user adds to the loss
    (likelihood and smoothing) divided by a power of their activity. With the linear encoder both halves learn
    together and the prior leans more on the standard normal, which ranked better on validation lists of MovieLens 100K;
    the paper's: network=dense, encoder_passes=3, gamma=0.005, memory=0.75, dropout=0.5.
    Cost: a pass is at most 6 · users · items · width multiplications; the encoder's save the decoder's gradient.
    """

    key = "recvae"
    label = "Variational autoencoder with a moving prior (RecVAE)"
    summary = "Ranks like Mult-VAE for likes and clicks and takes up to twice as long; a second opinion beside it."
    source = Source(
        "Shenbin, Alekseev, Tutubalina, Malykh, Nikolenko: RecVAE: A New Variational Autoencoder for Top-N Recommendations "
        "with Implicit Feedback (2020)",
        "https://arxiv.org/abs/1912.11160",
    )
    Params = RecVAEParams
    deep_network = "dense"

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        values = super().auto_params(params, stats)
        return values | {"encoder_passes": 0 if values["network"] == "linear" else 3}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        width = p.hidden if p.network == "dense" else 2 * p.latent
        weights = 4 * ((2 * width + p.latent) * stats.n_items + 8 * width * width * (p.network == "dense"))
        batch = 4 * p.batch_size * stats.n_items
        layers = 5 * width * width * (p.network == "dense")
        operations = 12.0 * p.epochs * stats.n_users * (stats.n_items * (p.latent + 20) + layers)
        return Cost(6 * weights + 4 * batch + 16 * stats.n_interactions, 2 + operations / 4e10, "users × items × width × passes")

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.hidden if p.network == "dense" else 0, p.latent, p.dropout)

    def _layers(self) -> Layers:
        encoder, p = self.network.encoder, self.resolved
        if p.network != "dense":
            return self._around(encoder.read, width=p.latent)
        from .._pruning import linear

        weight, bias = (x.detach().numpy()[: p.latent] for x in (encoder.taste.weight, encoder.taste.bias))
        return self._around(encoder.read, middle=(_hidden_layers(encoder), linear(weight, bias)))

    def _before_epoch(self, epoch: int) -> None:
        """Choose which half learns in this pass (epochs count from 1)."""
        passes = self.resolved.encoder_passes
        turn = (epoch - 1) % (passes + 1)
        if turn == passes:  # the decoder's pass, or every pass when both learn together
            self.network.remember()
        self.network.encoder.requires_grad_(turn < passes or passes == 0)
        self.network.decoder.requires_grad_(turn == passes)

    def _loss(self, chosen: Ragged, weight: Tensor, step: int) -> Tensor:
        import torch

        from ...nn.losses import multinomial_nll

        network, p = self.network, self.resolved
        reading = next(network.encoder.parameters()).requires_grad
        network.encoder.train(reading)  # the decoder learns from whole histories
        logits, z, mean, log_variance = network(chosen)
        nll = multinomial_nll(logits, chosen, weight)
        if not reading:
            return nll
        with torch.no_grad():
            old = network.old(chosen)
        prior = composite_log_prior(z, *old, (1 - WIDE_WEIGHT - p.memory, p.memory, WIDE_WEIGHT))
        divergence = (log_normal(z, mean, log_variance) - prior).sum(1)  # (B,), at the one z drawn
        return nll + p.gamma * (weight * chosen.lengths * divergence).mean()

    def _state(self) -> dict[str, Any]:
        """Without the copy of the encoder, which only learning needs."""
        return {name: value for name, value in super()._state().items() if not name.startswith("network.old.")}

    def _restore(self, state: dict[str, Any]) -> None:
        encoder = {name: value for name, value in state.items() if name.startswith("network.encoder.")}
        super()._restore(state | {name.replace("encoder", "old", 1): value for name, value in encoder.items()})
