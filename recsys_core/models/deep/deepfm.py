"""Factorisation machine with a deep part: ids and the columns of the user and item tables, all as fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.features import CYCLES, KINDS
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...params import param
from .._base import Source
from .._features import SideFeatures
from ._interaction import InteractionRecommender
from ._interaction_params import InteractionParams, factors_param, hidden_param, layers_param

if TYPE_CHECKING:
    from torch import Tensor

SIDES = ("user", "item")


class DeepFMParams(InteractionParams):
    factors: int | Literal["auto"] = factors_param("How many numbers describe each id and each value of a column.")
    hidden: int | Literal["auto"] = hidden_param()
    layers: int = layers_param()
    use_tables: bool = param(
        True,
        label="Use the columns of the tables",
        help="Learns from the columns of the user and item tables too, where there are any; off: from the ids alone.",
    )
    id_dropout: float = param(
        0.1,
        ge=0,
        lt=1,
        label="Ids hidden while learning",
        help="Share of the ids hidden at each learning step where there are columns, so that items nobody chose yet are ranked by theirs.",
        tune=(0.0, 0.5, "linear"),
    )


class DeepFM(InteractionRecommender):
    """DeepFM: linear terms, all products of two fields, and an MLP over the same embeddings.

    Source: Guo et al. 2017, https://arxiv.org/abs/1703.04247.
    Differs: sampled softmax over a user's choices by default instead of log loss (bce is an option); whole ids are dropped
    out, so that unknown ones are told by their columns; both sides are computed once, not once a pair (`nn.fields`).
    Shapes: (users + items + values of all columns) × (factors + 1) numbers; first layer fields × factors × hidden.
    Cost: an epoch of softmax touches interactions + users × negatives pairs, and each side's fields once a step.
    """

    key = "deepfm"
    label = "Factorisation machine with a deep part (DeepFM)"
    summary = (
        "Learns from ids and from columns of the user and item tables together, so new items get a place by theirs; "
        "without tables prefer a plainer model."
    )
    source = Source(
        "Guo, Tang, Ye, Li, He: DeepFM: A Factorization-Machine based Neural Network for CTR Prediction (2017)",
        "https://arxiv.org/abs/1703.04247",
    )
    Params = DeepFMParams
    reads_features = True
    without_kinds = ("text", "vector", CYCLES)
    lazy_tables = ("user.id", "user.id_weight", "item.id", "item.id_weight")
    _features: dict[str, tuple[sparse.csr_matrix, np.ndarray]] | None = None

    @classmethod
    def unread_kinds(cls, params: DeepFMParams) -> tuple[str, ...]:
        return cls.without_kinds if params.use_tables else tuple(KINDS)

    def _pass_seconds(self, stats: DatasetStats, p: Params) -> float:
        columns = p.use_tables and (stats.has_item_table or stats.has_user_table)
        return super()._pass_seconds(stats, p) * (2.0 if columns else 1.2)

    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        read = SideFeatures.fit(data, ctx, without=self.without_kinds) if self.resolved.use_tables else SideFeatures()
        self._features = {
            side: (read.matrix(side, n), read.tables[side].field if side in read.tables else np.empty(0, np.int64))
            for side, n in zip(SIDES, (data.n_users, data.n_items), strict=True)
        }
        self.notes += read.notes()
        super()._fit(data, ctx, validation)

    def _build(self, n_users: int, n_items: int) -> Any:
        from ...nn.fields import FieldNet, SideFields

        data, p = self.fitted, self.resolved
        kind = "seen" if p.loss == "mse" else "binary"
        sides = []
        for side, counts in zip(SIDES, (np.diff(data.matrix(kind).indptr), data.matrix(kind).getnnz(0)), strict=True):
            matrix, field = self._features[side]
            sides.append(SideFields(counts > 0 if matrix.shape[1] else np.ones(len(counts), bool), matrix, field))
        return FieldNet(*sides, *self._sizes(), p.dropout, p.id_dropout)

    def _unlearnt(self, data: Dataset, device: Any) -> Tensor | None:
        import torch

        new = data.item_counts == 0
        return torch.as_tensor(new, device=device) if self._features["item"][0].shape[1] and new.any() else None

    @property
    def _held(self) -> int:
        """The user's own part: the same for all items, and a constant of theirs."""
        return self.network.split[0] - 1

    def _item_directions(self) -> np.ndarray:
        return np.delete(self._items.numpy(), self._held, axis=1)  # without the constant of the own parts

    def _fold_in_choice(self, histories: Histories) -> tuple[np.ndarray, Callable[[Tensor], Tensor]]:
        """The user's own part is the same for all items: it must not move, for Adam would take rounding for a slope."""
        import torch

        start, loss = super()._fold_in_choice(histories)
        own = self._held

        def held(vectors: Tensor) -> Tensor:
            return loss(torch.cat([vectors[:, :own], vectors[:, own : own + 1].detach(), vectors[:, own + 1 :]], 1))

        return start, held

    def _state(self) -> dict[str, Any]:
        tables = {f"features.{side}": matrix for side, (matrix, _) in self._features.items()}
        return super()._state() | tables | {f"fields.{side}": field for side, (_, field) in self._features.items()}

    def _restore(self, state: dict[str, Any]) -> None:
        self._features = {side: (sparse.csr_matrix(state[f"features.{side}"]), np.asarray(state[f"fields.{side}"])) for side in SIDES}
        super()._restore(state)
