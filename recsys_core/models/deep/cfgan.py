"""CFGAN: a generator fills in whole purchase vectors, a discriminator tells them from real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.dataset import DatasetStats
from ...params import Params, param
from .._base import Cost, Source
from ._autoencoder import Autoencoder, AutoencoderParams, start_layers
from ._training import learning_rate_param

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import Ragged
    from ._autoencoder_bundle import Layers


class CFGANParams(AutoencoderParams):
    learning_rate: float = learning_rate_param(0.003, 3e-4, 1e-2)
    variant: Literal["zp", "zr", "pm"] = param(
        "zp",
        label="Use of items not chosen",
        help="zr: a random part of the items a user did not choose is to get scores near zero; pm: the scores of such items "
        "are shown to the judge; zp: both. pm alone needs more passes and ranks lower.",
        advanced=True,
    )
    zero_share: float = param(
        0.5,
        gt=0,
        le=1,
        label="Share of items drawn towards zero",
        help="How many of the items a user did not choose are held near zero in a step (zr and zp).",
        tune=(0.1, 0.9, "linear"),
        advanced=True,
    )
    zero_weight: float = param(
        0.1,
        ge=0,
        le=100,
        label="Weight of the pull towards zero",
        help="How much the scores of items not chosen matter beside the verdict of the judge (zr and zp).",
        tune=(0.01, 1.0, "log"),
    )
    masked_share: float = param(
        0.1,
        gt=0,
        le=1,
        label="Share of items shown to the judge",
        help="How many of the items a user did not choose the judge sees beside the chosen ones in a step (pm and zp).",
        tune=(0.02, 0.9, "log"),
        advanced=True,
    )
    judge: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=4096,
        label="Width of the judge",
        help="How much the judge can tell apart; too narrow a judge is soon fooled. Automatic: by the number of users, at most 256.",
        advanced=True,
    )
    judge_steps: int = param(
        1,
        ge=1,
        le=20,
        label="Steps of the judge per step of the generator",
        help="The two learn in turn: the judge for this many batches, then the generator for one.",
        advanced=True,
    )


def drawn_zeros(chosen: Tensor, share: float) -> Tensor:
    """0/1 like `chosen` (B, I): each entry that is 0 there with probability `share`, never one that is 1."""
    return chosen.new_empty(chosen.shape).bernoulli_(share) * (1 - chosen)


def purchase_vectors(chosen: Ragged, n_items: int) -> Tensor:
    """float32 (B, I): 1 where chosen."""
    import torch

    dense = torch.zeros(len(chosen), n_items, device=chosen.columns.device)
    dense[chosen.rows, chosen.columns] = 1
    return dense


def _network(n_items: int, latent: int, judge: int, dropout: float) -> nn.Module:
    import torch
    from torch import nn

    from ...nn.blocks import MLP, BagOfItems

    class Generator(nn.Module):
        """history -> tanh(taste) -> a made-up purchase vector."""

        def __init__(self) -> None:
            super().__init__()
            self.read = BagOfItems(n_items, latent, dropout)
            self.decoder = MLP([latent, n_items])
            start_layers([self.decoder])

        def forward(self, rows) -> Tensor:
            return self.decoder(self.read(rows).tanh())  # (B, I)

    class Discriminator(nn.Module):
        """(purchase vector, the history it claims to be of) -> logit that it is real.

        Both are brought to the history's length, and the layer starts as their difference: from there a wrong
        entry is seen at once, while from independent weights each item's agreement would have to be learnt.
        """

        def __init__(self) -> None:
            super().__init__()
            self.condition = BagOfItems(n_items, judge)
            self.vector = nn.Linear(n_items, judge, bias=False)
            self.verdict = nn.Linear(judge, 1)
            with torch.no_grad():
                self.vector.weight.copy_(-self.condition.weight.T)

        def forward(self, vector: Tensor, condition) -> Tensor:
            scale = condition.lengths.clamp(min=1).to(vector.dtype).rsqrt()[:, None]  # (B, 1)
            hidden = torch.relu(self.vector(vector * scale) + self.condition(condition))  # (B, judge)
            return self.verdict(hidden).squeeze(1)  # (B,)

    class CFGANNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = Generator()
            self.discriminator = Discriminator()

        @property
        def decoder(self) -> nn.Module:
            return self.generator.decoder

        def forward(self, rows) -> tuple[Tensor]:
            return (self.generator(rows),)  # (B, I)

    return CFGANNet()


class CFGAN(Autoencoder):
    """Collaborative-filtering GAN with zero-reconstruction, partial masking or both; user-based.

    Source: Chae et al. 2018, https://doi.org/10.1145/3269206.3271743 (section 4; -log D for the generator as in
    Goodfellow et al. 2014 instead of log(1 - D), whose gradient fades while the judge is sure).
    Differs: part of the history is hidden from the generator while it learns, the weights are averaged, a user counts
    less the more active they are, histories are scaled to unit length; the judge starts from the difference of its two
    inputs. Items not chosen are drawn independently, so their number varies around the share.
    The two sides take turns by batches in one optimiser; the other side has no gradients and keeps its state.
    Cost: an epoch is about users · items · (4 · taste + 6 · judge + 10) multiplications.
    """

    key = "cfgan"
    label = "Adversarial network (CFGAN)"
    summary = "Learns quickly, but ranks below the autoencoders, has more settings and is less steady; for comparison rather than for use."
    source = Source(
        "Chae, Kang, Kim, Lee: CFGAN: A Generic Collaborative Filtering Framework based on Generative Adversarial Networks (2018)",
        "https://doi.org/10.1145/3269206.3271743",
    )
    Params = CFGANParams
    log_probabilities = False  # near 1 for what a user would choose, near 0 for the rest

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        latent = int(np.clip(8 * round(np.sqrt(stats.n_users) / 4), 16, 256))
        batch = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 10)), 8, 512))
        width = params.latent if params.latent != "auto" else latent
        return {"latent": latent, "judge": min(256, 4 * width), "batch_size": batch}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        weights = 4 * (2 * p.latent + 2 * p.judge + 1) * stats.n_items
        batch = 4 * p.batch_size * stats.n_items
        operations = p.epochs * stats.n_users * stats.n_items * (8.0 * p.latent + 12 * p.judge + 100)
        note = "users × items × width × passes"
        return Cost(6 * weights + 10 * batch + 16 * stats.n_interactions, 2 + operations / 4e10, note)

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.latent, p.judge, p.dropout)

    def _loss(self, chosen: Ragged, weight: Tensor, step: int) -> Tensor:
        import torch.nn.functional as F

        p, network = self.resolved, self.network
        judging = step % (p.judge_steps + 1) < p.judge_steps
        network.discriminator.requires_grad_(judging)
        network.generator.requires_grad_(not judging)
        made = network.generator(chosen)  # (B, I)
        real = purchase_vectors(chosen, made.shape[1])
        shown = real if p.variant == "zr" else real + drawn_zeros(real, p.masked_share)
        fake = network.discriminator(made * shown, chosen)  # (B,)
        if judging:
            return (weight * (F.softplus(fake) + F.softplus(-network.discriminator(real, chosen)))).mean()
        each = F.softplus(-fake)
        if p.variant != "pm":
            each = each + p.zero_weight * (made.square() * drawn_zeros(real, p.zero_share)).sum(1)
        return (weight * each).mean()

    def _layers(self) -> Layers:
        return self._around(self.network.generator.read, "tanh")
