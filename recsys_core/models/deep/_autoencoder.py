"""What the autoencoders share: a user's history in, scores of all items out, one likelihood, one way to score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...params import Params, param
from .._vectors import cosines
from ._base import DeepRecommender, TrainingParams
from ._training import averaging_param

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches, Ragged
    from .._portable import Portable
    from ._autoencoder_bundle import Layers


HIDDEN_FROM_USERS = 20_000  # with fewer, hidden layers have too little to learn from


class AutoencoderParams(TrainingParams):
    learning_rate: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=1,
        label="Learning rate",
        help="Size of each learning step. Automatic: 0.003 for the linear network, 0.001 for the one with hidden layers.",
        tune=(1e-4, 1e-2, "log"),
    )
    averaging: float = averaging_param(0.99)
    latent: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=4096,
        label="Taste dimensions",
        help="How many numbers describe one user's taste. Automatic: by the number of users and items.",
        tune=(16, 512, "log"),
    )
    dropout: float = param(
        0.4,
        ge=0,
        lt=1,
        label="History hidden while learning",
        help="Share of each history that is hidden at every step, so that the model learns to guess what is missing.",
        tune=(0.1, 0.8, "linear"),
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


class HiddenAutoencoderParams(AutoencoderParams):
    """Of autoencoders whose network may have hidden layers of their own width."""

    hidden: int | Literal["auto"] = param(
        "auto",
        ge=4,
        le=8192,
        label="Hidden units",
        help="Width between history and taste, if the network has hidden layers. Wider tells more tastes apart, but is slower. "
        "Automatic: by the number of items.",
        tune=(64, 1024, "log"),
    )


class Autoencoder(DeepRecommender):
    """A network from sparse histories to the logits of all items. A model writes `_build`, `_loss` and `_layers`.

    The network takes `Ragged` rows and gives a tuple whose first entry is the logits (B, I); its `decoder` is an `MLP`.
    """

    Params = AutoencoderParams
    log_probabilities = True  # scores are logits otherwise
    deep_network = "hidden"  # what "network" becomes from HIDDEN_FROM_USERS users on

    @abstractmethod
    def _loss(self, chosen: Ragged, weight: Tensor, step: int) -> Tensor:
        """Scalar of one batch of histories: a mean over rows. weight (B,): how much each user counts, 1 on average."""

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        hidden = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_items) / 4)), 32, 600))
        latent = int(np.clip(16 * round(np.sqrt(stats.n_users) / 4), 16, min(256, hidden)))
        batch = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 10)), 8, 512))
        network = params.network if params.network != "auto" else (cls.deep_network if stats.n_users >= HIDDEN_FROM_USERS else "linear")
        rate = 0.003 if network == "linear" else 0.001
        return {"hidden": hidden, "latent": latent, "batch_size": batch, "network": network, "learning_rate": rate}

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        import torch

        from ...nn.batches import IndexBatches, SparseRows

        active = np.flatnonzero(data.user_counts)
        rows = SparseRows(data.matrix("binary")[active], device)
        say = (data.user_counts[active] ** -self.resolved.activity_damping).astype(np.float32)
        weight = torch.as_tensor(say / say.mean(), device=device)

        def loss(index: Tensor, step: int) -> Tensor:
            return self._loss(rows.take(index), weight[index], step)

        return IndexBatches(len(active), self.resolved.batch_size), loss

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._score_rows(self._positives(histories))

    def _score_rows(self, rows: sparse.csr_matrix) -> np.ndarray:
        """float32 (B, I): scores of each row's history."""
        import torch

        from ...nn.batches import SparseRows

        with torch.inference_mode():
            logits = self.network(SparseRows(rows, next(self.network.parameters()).device).all())[0]
            return self._as_scores(logits).cpu().numpy()

    def _as_scores(self, logits: Tensor) -> Tensor:
        """(B, I): log-probability of every item as the next choice; the logits where they are no such thing."""
        return logits.log_softmax(1) if self.log_probabilities else logits

    # ---- for a bundle ----------------------------------------------------------------------------
    def _portable(self) -> Portable:
        from ._autoencoder_bundle import LEARNT_FROM, pack

        def histories() -> sparse.csr_matrix:
            active = np.flatnonzero(self.fitted.user_counts)
            some = active if len(active) <= LEARNT_FROM else np.random.default_rng(0).choice(active, LEARNT_FROM, replace=False)
            return self._positives(self.fitted.histories(np.sort(some)))

        return pack(self._layers(), {"threshold": self.fitted.threshold, "log_softmax": self.log_probabilities}, histories)

    @abstractmethod
    def _layers(self) -> Layers:
        """What the trained network is made of, chance left out."""

    def _around(self, read: nn.Module, bend: str = "none", middle: tuple[nn.Module, ...] = (), width: int | None = None) -> Layers:
        """The layers with the first (its first `width` columns) and the last one of the network."""
        from ._autoencoder_bundle import Layers

        last = self.network.decoder.layers[-1]
        weight, bias, out, out_bias = (x.detach().cpu().numpy() for x in (read.weight, read.bias, last.weight, last.bias))
        return Layers(weight[:, :width].copy(), bias[:width].copy(), bend, middle, out.copy(), out_bias.copy())

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' columns in the last layer: what the decoder finds alike."""
        return cosines(self.network.decoder.layers[-1].weight.detach().numpy(), items)


def start_layers(parts: Iterable[nn.Module]) -> None:
    """Starting values of the fully connected layers inside, as Liang et al. set them."""
    from torch import nn

    for layer in (m for part in parts for m in part.modules() if isinstance(m, nn.Linear)):
        nn.init.xavier_normal_(layer.weight)
        nn.init.trunc_normal_(layer.bias, std=0.001, a=-0.002, b=0.002)
