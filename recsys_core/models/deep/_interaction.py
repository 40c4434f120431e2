"""Scoring, fold-in and ratings of models whose score is a network of one user vector and one item vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from ._base import DeepRecommender

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...nn.batches import Ragged

SCORE_BLOCK_FLOATS = 2**20  # users × items × hidden held at once when scoring: fits the CPU's cache
FOLD_IN_NEGATIVES = 512


class InteractionRecommender(DeepRecommender):
    """`network` is an `nn.interaction.InteractionNet`; params have `loss`, `hidden` and `fold_in_steps`.

    A user never seen gets a vector by a few gradient steps on it with everything else fixed, for all
    users of a block at once.
    """

    left_out_at_most = 50

    def _softmax(
        self, vectors: Tensor, chosen: Ragged, drawn: Tensor, log_q: Tensor, excluded: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Mean over choices, or their weighted sum; also used to find the vectors of new users."""
        import torch.nn.functional as F

        from ...nn.losses import sampled_logsumexp, softmax_against

        # embedding and index_select, not vectors[rows]: the gradient of that adds up in a different order each time.
        net, rows = self.network, chosen.rows
        against = sampled_logsumexp(net.block(vectors, *net.items(drawn)), log_q, excluded)
        positive = net.pairs(F.embedding(rows, vectors), *net.items(chosen.columns))
        return softmax_against(positive, against.index_select(0, rows), weights)

    def _validation_metric(self, validation: Holdout | None) -> tuple[str, bool]:
        if self.resolved.loss == "mse" and validation is not None and not validation.cold:
            return "rmse", False
        return super()._validation_metric(validation)

    def _validation_score(self, validation: Holdout) -> float:
        if self._validation_metric(validation)[0] != "rmse":
            return super()._validation_score(validation)
        truth = validation.truth
        return float(np.sqrt(np.mean((self._rating(truth.user, truth.item) - truth.value) ** 2)))

    # ---- scoring ---------------------------------------------------------------------------------
    def _ready(self) -> None:
        """Where new users start: for each item the mean vector of the users who chose it."""
        chosen = self.fitted.matrix("binary").T.tocsr()
        users = self.network.user.weight.detach().cpu().numpy()
        self._start = (chosen @ users) / np.maximum(self.fitted.item_counts, 1)[:, None]

    @property
    def _device(self) -> torch.device:
        return self.network.user.weight.device

    def _scores(self, users: np.ndarray) -> np.ndarray:
        import torch

        vectors = self.network.user.weight.detach()[torch.as_tensor(users, dtype=torch.int64, device=self._device)]
        # Who has no positive was never trained on: their vector is that of their history, as for a new user.
        untrained = np.flatnonzero(self.fitted.user_counts[users] == 0) if self.resolved.loss != "mse" else []
        if len(untrained):
            vectors[untrained] = self._fold_in(self.fitted.histories(users[untrained]))
        return self._score_vectors(vectors)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._score_vectors(self._fold_in(histories))

    def _score_vectors(self, vectors: Tensor) -> np.ndarray:
        """float32 (B, I), computed in blocks of users that fit the cache."""
        import torch

        net = self.network
        out = torch.empty(len(vectors), self.fitted.n_items)
        with torch.inference_mode():
            items = net.item.weight, net.item_bias.weight.squeeze(1)
            rows = max(1, SCORE_BLOCK_FLOATS // (self.fitted.n_items * self.resolved.hidden))
            for start in range(0, len(vectors), rows):
                out[start : start + rows] = net.block(vectors[start : start + rows], *items)
        return (out + self._offset).numpy()

    @property
    def _offset(self) -> float:
        return float(self.fitted.value.mean()) if self.resolved.loss == "mse" else 0.0

    def _fold_in(self, histories: Histories) -> Tensor:
        """(B, f + h) vectors of users never seen: a few gradient steps from where similar users are."""
        import torch

        from ...nn.fold_in import descend

        rows = max(1, 4 * SCORE_BLOCK_FLOATS // (FOLD_IN_NEGATIVES * self.resolved.hidden))
        parts = []
        for start in range(0, len(histories), rows):
            part = histories.take(np.arange(start, min(start + rows, len(histories))))
            begin, objective = self._fold_in_rating(part) if self.resolved.loss == "mse" else self._fold_in_choice(part)
            parts.append(descend(torch.as_tensor(begin, device=self._device), objective, self.resolved.fold_in_steps))
        return torch.cat(parts)

    def _fold_in_choice(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """(start, loss): the softmax over a fixed uniform sample of items, the same for everyone."""
        import torch

        from ...nn.batches import SparseRows
        from ...nn.samplers import PairTable

        n_items, device = self.fitted.n_items, self._device
        matrix = self._positives(histories)
        chosen = SparseRows(matrix, device).all()
        sample = np.random.default_rng(0).permutation(n_items)[:FOLD_IN_NEGATIVES]
        drawn = torch.as_tensor(sample, device=device)
        log_q = torch.full((len(sample),), -float(np.log(n_items)), device=device)
        excluded = PairTable(matrix, device).contains(torch.arange(len(chosen), device=device)[:, None], drawn)
        weights = chosen.lengths.float().reciprocal()[chosen.rows]

        def loss(vectors: Tensor) -> Tensor:
            return self._softmax(vectors, chosen, drawn, log_q, excluded, weights)

        return self._mean_start(matrix), loss

    def _fold_in_rating(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """(start, loss): the squared errors of the history's ratings."""
        import torch
        import torch.nn.functional as F

        net, device = self.network, self._device
        row, item = (torch.as_tensor(x.astype(np.int64), device=device) for x in (histories.row, histories.items))
        target = torch.as_tensor(histories.values - self._offset, device=device)
        weights = torch.as_tensor((1 / histories.lengths[histories.row]).astype(np.float32), device=device)

        def loss(vectors: Tensor) -> Tensor:
            return torch.dot(weights, (net.pairs(F.embedding(row, vectors), *net.items(item)) - target).square())

        return self._mean_start(histories.matrix(self.fitted.n_items)), loss

    def _mean_start(self, rows: sparse.csr_matrix) -> np.ndarray:
        return (rows @ self._start / np.maximum(np.diff(rows.indptr), 1)[:, None]).astype(np.float32)

    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        import torch

        if not self.predicts_ratings():
            raise Unsupported(f"{self.label} with loss={self.params.loss} ranks items and predicts no ratings.", "Set loss to mse.")
        net = self.network
        with torch.inference_mode():
            user, item = (torch.as_tensor(np.asarray(codes, np.int64), device=self._device).split(2**17) for codes in (users, items))
            parts = [net.pairs(net.users(u), *net.items(i)) for u, i in zip(user, item, strict=True)]
            return torch.cat(parts).cpu().numpy() + self._offset

    def predicts_ratings(self) -> bool:
        return self.params.loss == "mse"

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' vectors."""
        vectors = self.network.item.weight.detach().numpy()
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit[items] @ unit.T
