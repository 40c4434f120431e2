"""Convolutional sequence model: the last few items as a picture, read by filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...errors import Unsupported
from ...params import param
from .._base import Cost, Source
from .._card import block_bytes
from ..deep._training import averaging_param, fold_in_steps_param, learning_rate_param, patience_param
from ._base import SequenceParams, SequentialRecommender, dropout_param, popularity_param, tied_param

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches
    from .._portable import Portable

FOLD_IN_PLACES = 50  # latest places of a history from which the vector of a new user is found
FOLD_IN_ITEMS = 512  # items these are compared with
FOLD_IN_RATE = 0.02


class CaserParams(SequenceParams):
    learning_rate: float = learning_rate_param(0.004, 3e-4, 1e-2)
    patience: int = patience_param(4, fast=3, thorough=15)
    averaging: float = averaging_param(0.98)
    dropout: float = dropout_param(0.5)
    max_len: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=200,
        label="Items looked at",
        help="How many of the most recent items make up the picture. Automatic: five, as in the paper, fewer where histories are shorter.",
        tune=(3, 10, "linear"),
    )
    popularity: float = popularity_param(1.0)
    targets: int = param(
        3,
        ge=1,
        le=50,
        label="Next items told at once",
        help="How many of the items that follow each picture stands for. More than one lets the model skip an item.",
        tune=(1, 5, "linear"),
    )
    horizontal: int = param(
        16,
        ge=0,
        le=512,
        label="Horizontal filters",
        help="How many patterns of items in a row are looked for, of each length from one item to all.",
        tune=(4, 64, "log"),
    )
    vertical: int = param(
        4,
        ge=0,
        le=128,
        label="Vertical filters",
        help="How many weighted sums of the items looked at are formed.",
        tune=(1, 16, "log"),
    )
    user: Literal["vector", "none"] = param(
        "vector",
        label="Long-term taste",
        help="vector: each user has numbers of their own beside the last few items; found by a few steps for a user never seen. "
        "none: only the last few items count.",
    )
    tied: bool = tied_param()
    fold_in_steps: int = fold_in_steps_param(5)


class Caser(SequentialRecommender):
    """Convolutional sequence embedding.

    Source: Tang & Wang 2018, https://arxiv.org/abs/1809.07426.
    Differs: softmax over all (or sampled) items instead of binary cross-entropy with three negatives; every place of a
    history is an example, also the first ones (zeros before them) and the last ones (fewer targets); no activation after
    the vertical filters, as in the authors' code; dropout of the items and of what is read, too; the
    items' vectors are the same in and out; a user never seen starts at the mean of the users of the same items and gets a
    vector by a few gradient steps on their own latest places; where what else belongs to a history is asked (`asked`), the
    picture is drawn from anywhere in it.
    Shapes: items (B, L) -> picture (B, L, d) -> (B, d), beside the user (B, d) -> (B, 2 d) -> scores (B, I).
    Cost: an epoch is interactions × (filters × L³ / 6 × d + 2 d × items compared with) × 3 multiplications.
    """

    key = "caser"
    label = "Convolution over the sequence (Caser)"
    summary = "Patterns of the last few items beside a lasting taste; on small data neighbours in order are often as good; needs times."
    source = Source(
        "Tang, Wang: Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding (2018)",
        "https://arxiv.org/abs/1809.07426",
    )
    Params = CaserParams
    full_softmax_items = 1_000

    @classmethod
    def auto_params(cls, params: Any, stats: DatasetStats) -> dict[str, Any]:
        values = super().auto_params(params, stats)
        batch = int(np.clip(2 ** np.round(np.log2(max(1, stats.n_interactions) / 200)), 16, 512))
        return values | {"max_len": int(np.clip(stats.longest_history - 1, 2, 5)), "batch_size": batch}

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        compared = stats.n_items if p.loss == "full_softmax" else p.negatives * (1 if p.loss == "sampled_softmax" else p.targets)
        width = p.dim * (2 if p.user == "vector" else 1)
        filters = p.horizontal * p.max_len * (p.max_len + 1) * (p.max_len + 2) / 6 * p.dim
        combine = (p.horizontal * p.max_len + p.vertical * p.dim) * p.dim
        weights = 4 * (stats.n_items * (p.dim + width) + stats.n_users * p.dim + filters + combine)
        step = 4 * p.batch_size * (3 * compared + 4 * p.max_len * (p.dim + p.horizontal * p.max_len))
        passes = 2 * min(p.epochs, 14)  # it stops early, and is then fitted again
        return Cost(
            int(5 * weights + step + 60 * stats.n_interactions + block_bytes(stats)),
            3 + passes * stats.n_interactions * 3 * (filters + combine + compared * (width + 60)) / 1e10,
            "passes × interactions × items compared with",
        )

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        from ...nn.convolution import PictureNet

        p = self.resolved
        if not p.horizontal and not p.vertical:
            raise Unsupported(f"{self.label} needs filters; got none of either kind.", "Set horizontal or vertical to 1 or more.")
        return PictureNet(n_users if p.user == "vector" else 0, n_items, p.max_len, p.dim, p.horizontal, p.vertical, p.dropout, p.tied)

    # ---- learning --------------------------------------------------------------------------------
    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        import torch

        from ...nn.batches import IndexBatches
        from ...nn.places import Places

        p, network = self.resolved, self.network
        places = Places(self._sequences(data), p.max_len, p.targets, network.pad, device)
        if not len(places):
            raise Unsupported(f"{self.label} learns what follows what; no user has two relevant interactions.", "Use more data.")
        choice = self._place_loss(data, device)

        def loss(index: Tensor, step: int) -> Tensor:
            row, read, following = places.take_any(index) if p.asked == "any" else places.take(index)
            states = network.picture(read)
            if network.user is not None:
                states = torch.cat([states, network.dropout(network.user(row))], 1)
            return choice(states, following) / (len(index) * places.targets_a_place)

        return IndexBatches(len(places), p.batch_size), loss

    def _place_loss(self, data: Dataset, device: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """loss(states (B, d), targets (B, T), padded): summed over all targets; those of a place share what they are compared with."""
        import math

        from ...nn.losses import sampled_logsumexp, softmax_against
        from ...nn.samplers import NegativeSampler, popularity_weights

        p, network = self.resolved, self.network

        def against_all(states: Tensor, targets: Tensor) -> Tensor:
            there, scores = targets != network.pad, network.scores(states)
            each = scores.logsumexp(1, keepdim=True) - scores.gather(1, targets.masked_fill(~there, 0))
            return (each * there).sum()

        if p.loss == "full_softmax":
            return against_all
        if p.loss == "sampled_softmax":
            sampler = NegativeSampler(data.n_items, None, popularity_weights(data.item_counts, p.popularity), device)

            def against_some(states: Tensor, targets: Tensor) -> Tensor:
                drawn, of = sampler.draw((p.negatives,)), (targets != network.pad).nonzero()
                negative = network.scores_with(states, drawn, sampler.log_q[drawn] + math.log(p.negatives))
                total = sampled_logsumexp(negative, None, (targets[:, :, None] == drawn).any(1))
                positive = network.scores_of(states.index_select(0, of[:, 0]), targets[of[:, 0], of[:, 1]])
                return softmax_against(positive, total.index_select(0, of[:, 0])) * len(of)

            return against_some
        one_by_one = self._choice_loss(data, device)

        def each_alone(states: Tensor, targets: Tensor) -> Tensor:
            of = (targets != network.pad).nonzero()
            return one_by_one(states.index_select(0, of[:, 0]), targets[of[:, 0], of[:, 1]]) * len(of)

        return each_alone

    # ---- for a bundle ----------------------------------------------------------------------------
    def _portable(self) -> Portable:
        from ._bundle import pack

        network, p = self.network, self.resolved
        reading = self._reading() | {"pad_to": p.max_len}
        if network.user is None:
            return pack(network, reading, batched=True)
        steps = {"places": FOLD_IN_PLACES, "steps": p.fold_in_steps, "rate": FOLD_IN_RATE}
        users, taste = (table.weight.detach().cpu().numpy() for table in (network.user, network.taste))
        tables = {"taste": taste, "start": self._start, "drawn": self._compared_with()}
        of_users = {"users": users, "learnt": self._learnt}
        return pack(network, reading | steps, form="picture", batched=True, more=tables, of_users=of_users)

    # ---- scoring ---------------------------------------------------------------------------------
    def _ready(self) -> None:
        """Where new users start: for each item the mean vector of the users who chose it and were learnt from."""
        if self.network.user is None:
            return
        users = self.network.user.weight.detach().cpu().numpy()
        self._learnt = self._sequences(self.fitted).lengths > 1
        chosen = self.fitted.matrix("binary").T.tocsr().multiply(self._learnt[None, :]).tocsr()
        self._start = ((chosen @ users) / np.maximum(np.diff(chosen.indptr), 1)[:, None]).astype(np.float32)

    def _scores(self, users: np.ndarray) -> np.ndarray:
        import torch

        histories, user = self.fitted.histories(users), self.network.user
        if user is None:
            return self._history_scores(histories)
        taste = user.weight.detach()[torch.as_tensor(users, dtype=torch.int64, device=user.weight.device)]
        never = np.flatnonzero(~self._learnt[users])
        if len(never):
            taste[never] = self._taste(histories.take(never))
        return self._scores_with(histories, taste)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return super()._history_scores(histories) if self.network.user is None else self._scores_with(histories, self._taste(histories))

    def _scores_with(self, histories: Histories, taste: Tensor) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return self.network.scores(torch.cat([self._states(histories), taste], 1)).cpu().numpy()

    def _compared_with(self) -> np.ndarray:
        """int64 (N,): the items a new user's latest ones are compared with, always the same."""
        return np.random.default_rng(0).permutation(self.fitted.n_items)[:FOLD_IN_ITEMS]

    def _taste(self, histories: Histories) -> Tensor:
        """(B, d) vectors of users never seen: from where users of the same items are, a few steps on what followed each of their
        latest places, everything else held fixed."""
        import torch
        import torch.nn.functional as F

        from ...nn.fold_in import descend
        from ...nn.losses import sampled_logsumexp, softmax_against
        from ...nn.places import Places

        p, network, n_items = self.resolved, self.network, self.fitted.n_items
        chosen = self._positives(histories)
        begin = chosen @ self._start / np.maximum(np.diff(chosen.indptr), 1)[:, None]
        start = torch.as_tensor(begin.astype(np.float32), device=network.user.weight.device)
        latest = histories.relevant(self.fitted.threshold).last(FOLD_IN_PLACES + p.max_len)
        places = Places(latest, p.max_len, 1, network.pad, start.device)
        if not len(places):
            return start
        drawn = torch.as_tensor(self._compared_with(), device=start.device)
        with torch.no_grad():
            row, read, following = places.take(places.latest(FOLD_IN_PLACES))
            target = following.squeeze(1)
            pictures = F.pad(network.picture(read), (0, network.dim))  # the user's part is what is looked for
            share = start.new_full((len(drawn),), float(np.log(len(drawn) / n_items)))
            against = network.scores_with(pictures, drawn, share).masked_fill_(target[:, None] == drawn, -torch.inf)
            positive = network.scores_of(pictures, target)
            weights = (1 / torch.bincount(row, minlength=len(histories)).clamp(min=1))[row]
            to_drawn, to_target = (network.output_vectors(codes)[:, network.dim :] for codes in (drawn, target))

        def loss(vectors: Tensor) -> Tensor:
            total = sampled_logsumexp(against + F.embedding(row, vectors @ to_drawn.T))
            return softmax_against(positive + (F.embedding(row, vectors) * to_target).sum(1), total, weights)

        return descend(start, loss, p.fold_in_steps, FOLD_IN_RATE)
