"""Recurrent sequence model: a state that each item of a history changes, from which the next one is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...params import param
from .._base import Cost, Source
from .._card import block_bytes
from ..deep._training import averaging_param, learning_rate_param, patience_param
from ._base import SequenceParams, SequentialRecommender, popularity_param, tied_param

if TYPE_CHECKING:
    from torch import Tensor, nn

HOUR = 3_600


class GRU4RecParams(SequenceParams):
    learning_rate: float = learning_rate_param(0.008, 5e-4, 2e-2)
    patience: int = patience_param(5, fast=3, thorough=15)
    averaging: float = averaging_param(0.98)
    dropout: float = param(
        0.5,
        ge=0,
        lt=1,
        label="Dropout of the items",
        help="Share of an item's numbers switched off when it is read, against learning by heart. Small data needs more.",
        tune=(0.0, 0.7, "linear"),
    )
    state_dropout: float = param(
        0.5,
        ge=0,
        lt=1,
        label="Dropout of the state",
        help="Share of the state's numbers switched off when the next item is told from it.",
        tune=(0.0, 0.6, "linear"),
    )
    popularity: float = popularity_param(1.0)
    hidden: int | Literal["auto"] = param(
        "auto",
        ge=4,
        le=2048,
        label="Width of the state",
        help="How many numbers are remembered of a history. Automatic: as many as describe an item.",
        tune=(16, 256, "log"),
        advanced=True,
    )
    layers: int = param(
        1, ge=1, le=6, label="Layers", help="How many recurrent layers read one another. One is nearly always best.", advanced=True
    )
    tied: bool = tied_param()
    loss: Literal["full_softmax", "sampled_softmax", "bpr_max", "top1_max", "gbce", "bce"] | Literal["auto"] = param(
        "auto",
        label="What it learns",
        help="full_softmax: the next item above all others (best lists). sampled_softmax: above a sample of them, for large catalogues. "
        "bpr_max and top1_max: above the strongest of a sample, the losses of the paper. gbce and bce: chosen or not. "
        "Automatic: over all items of a small catalogue, else over a sample.",
    )
    score_penalty: float = param(
        0.5,
        ge=0,
        le=100,
        label="Penalty on scores",
        help="For bpr_max only: keeps the scores of the items compared with small.",
        tune=(0.01, 2.0, "log"),
        advanced=True,
    )
    session_hours: float = param(
        0.0,
        ge=0,
        le=100_000,
        label="Pause that ends a session",
        help="In hours: after a longer pause a history begins anew, and only what came since the last one counts. 0 = the whole history.",
    )


def bpr_max(positive: Tensor, negative: Tensor, excluded: Tensor | None = None, score_penalty: float = 0.0) -> Tensor:
    """-log of the softmax-weighted chance that the target beats a negative, plus a penalty on the negatives' scores.

    Source: Hidasi & Karatzoglou 2018, eq. 10 (https://arxiv.org/abs/1706.03847).
    Shapes: (n,), (n, N), bool (n, N) -> scalar, mean over n. Rows with nothing to compare with add nothing.
    """
    weight = _weights(negative, excluded)
    beats = (weight * (positive[:, None] - negative).sigmoid()).sum(1)
    beats = beats + (weight.sum(1) == 0)  # nothing to beat
    return ((beats + 1e-24).log().neg() + score_penalty * (weight * negative.square()).sum(1)).mean()


def top1_max(positive: Tensor, negative: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Softmax-weighted: how far each negative is above the target, and its own score from 0.

    Source: Hidasi & Karatzoglou 2018, eq. 8 (https://arxiv.org/abs/1706.03847).
    Shapes: (n,), (n, N), bool (n, N) -> scalar, mean over n.
    """
    each = (negative - positive[:, None]).sigmoid() + negative.square().sigmoid()
    return (_weights(negative, excluded) * each).sum(1).mean()


def _weights(negative: Tensor, excluded: Tensor | None) -> Tensor:
    """(n, N): softmax of the scores of what is not excluded; zeros where nothing is left."""
    if excluded is None:
        return negative.softmax(1)
    return negative.masked_fill(excluded, -1e9).softmax(1).masked_fill(excluded, 0.0)


def sessions(histories: Histories, hours: float) -> tuple[Histories, np.ndarray]:
    """(sessions as rows, int64 (n_sessions,) the history each comes from), cut where more than `hours` lie between two items.

    Histories without times, or 0 hours: every history is one session. Empty histories give none.
    """
    if hours == 0 or histories.times is None:
        begins = histories.indptr[:-1][histories.lengths > 0]
    else:
        new = np.diff(histories.times, prepend=histories.times[:1]) > hours * HOUR
        new[histories.indptr[:-1][histories.lengths > 0]] = True
        begins = np.flatnonzero(new)
    indptr = np.append(begins, len(histories.items)).astype(np.int64)
    return Histories(indptr, histories.items, histories.values, histories.times), histories.row[begins]


def _network(n_items: int, dim: int, hidden: int, layers: int, dropout: float, state_dropout: float, tied: bool) -> nn.Module:
    import torch
    from torch import nn

    from ...nn.dropout import Dropout
    from ...nn.sequences import SequenceNet

    class GRU4RecNet(SequenceNet):
        """items -> dropout -> GRU -> dropout -> (width of the items) -> item vectors."""

        def __init__(self) -> None:
            super().__init__(n_items, dim, tied=tied, std=dim**-0.5)
            self.dropout, self.state_dropout = Dropout(dropout), Dropout(state_dropout)
            self.gru = nn.GRU(dim, hidden, layers, batch_first=True, dropout=state_dropout if layers > 1 else 0.0)
            self.out = nn.Linear(hidden, dim) if hidden != dim else nn.Identity()

        def encode(self, items: Tensor) -> Tensor:
            """Each row is turned until its padding stands behind: a state then knows nothing of it, without any mask."""
            length = items.shape[1]
            places = torch.arange(length, device=items.device)
            padding = (items == self.pad).sum(1, keepdim=True)  # (B, 1)
            ahead = items.gather(1, (places + padding) % length)  # (B, L)
            states, _ = self.gru(self.dropout(self.item(ahead)))  # (B, L, h)
            back = ((places - padding) % length)[..., None].expand(-1, -1, hidden)
            return self.out(self.state_dropout(states.gather(1, back)))  # (B, L, d)

        def state_after(self, vectors: Tensor) -> Tensor:
            return self.out(self.state_dropout(self.gru(self.dropout(vectors))[0][:, -1]))  # (B, d)

    return GRU4RecNet()


class GRU4Rec(SequentialRecommender):
    """Gated recurrent units over sessions or whole histories.

    Source: Hidasi et al. 2016, https://arxiv.org/abs/1511.06939; losses: Hidasi & Karatzoglou 2018, https://arxiv.org/abs/1706.03847.
    Differs: softmax over all (or sampled, logQ-corrected) items by default, the losses of the paper are options; batches are
    pieces of histories of like length, each begun with an empty state, in place of session-parallel streams, so a row never
    depends on the one before it; items to compare with are one popularity^α sample for a step, not the other targets of
    the batch; item vectors are the same in and out; Adam, the weights averaged over the last steps.
    Shapes: items (B, L) -> states (B, L, h) -> (B, L, d) -> scores (B, I). Padding stands before a history and is
    never read.
    Cost: an epoch is interactions × (layers × 3 h (d + h) + d × items compared with) × 3 multiplications.
    """

    key = "gru4rec"
    label = "Recurrent network over the sequence (GRU4Rec)"
    summary = "For 'what next' where order is strong, as in sessions; with few data neighbours in order do better; needs times."
    source = Source(
        "Hidasi, Karatzoglou, Baltrunas, Tikk: Session-based Recommendations with Recurrent Neural Networks (2016)",
        "https://arxiv.org/abs/1511.06939",
    )
    Params = GRU4RecParams
    full_softmax_items = 1_000

    @classmethod
    def auto_params(cls, params: Any, stats: DatasetStats) -> dict[str, Any]:
        values = super().auto_params(params, stats)
        dim = values["dim"] if params.dim == "auto" else params.dim
        loss = values["loss"] if params.loss == "auto" else params.loss
        shared = loss in ("sampled_softmax", "bpr_max", "top1_max")
        max_len = values["max_len"]
        batch = int(np.clip(2 ** np.round(np.log2((stats.n_users + stats.n_interactions / max_len) / 64)), 8, 128))
        return values | {"hidden": dim, "batch_size": batch, "negatives": min(512 if shared else 16, stats.n_items)}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        compared = stats.n_items if p.loss == "full_softmax" else p.negatives
        state = p.layers * 3 * p.hidden * (p.dim + p.hidden)
        weights = 4 * ((1 if p.tied else 2) * stats.n_items * p.dim + state)
        step = 4 * p.batch_size * p.max_len * (3 * compared + (8 * p.layers + 4) * p.hidden)
        passes = 2 * min(p.epochs, 30)  # it stops early, and is then fitted again
        return Cost(
            int(5 * weights + step + 40 * stats.n_interactions + block_bytes(stats)),
            3 + passes * stats.n_interactions * 3 * (state + compared * (p.dim + 60)) / 1.5e10,
            "passes × interactions × (items compared with + state²)",
        )

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        p = self.resolved
        return _network(n_items, p.dim, p.hidden, p.layers, p.dropout, p.state_dropout, p.tied)

    @property
    def _pause(self) -> float:
        """Hours that end a session; where order is not asked for there are none."""
        return self.resolved.session_hours if self.resolved.asked == "next" else 0.0

    def _sequences(self, data: Dataset) -> Histories:
        return sessions(super()._sequences(data), self._pause)[0]

    def _reading(self) -> dict[str, Any]:
        return super()._reading() | {"pause_hours": self._pause}

    def _states(self, histories: Histories) -> Tensor:
        """From the last session of each history."""
        every, row = sessions(histories.relevant(self.fitted.threshold), self._pause)
        last = np.searchsorted(row, np.arange(len(histories)), side="right") - 1
        return super()._states(every.take(last))

    def _choice_loss(self, data: Dataset, device: Any) -> Callable[[Tensor, Tensor], Tensor]:
        from ...nn.samplers import NegativeSampler, popularity_weights

        p, network = self.resolved, self.network
        if p.loss not in ("bpr_max", "top1_max"):
            return super()._choice_loss(data, device)
        sampler = NegativeSampler(data.n_items, None, popularity_weights(data.item_counts, p.popularity), device)

        def loss(states: Tensor, targets: Tensor) -> Tensor:
            drawn = sampler.draw((p.negatives,))
            positive, negative = network.scores_of(states, targets), network.scores_with(states, drawn)
            same = targets[:, None] == drawn
            return bpr_max(positive, negative, same, p.score_penalty) if p.loss == "bpr_max" else top1_max(positive, negative, same)

        return loss
