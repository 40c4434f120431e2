"""M6-Rec: multi-level encoders of features, fused with ids and histories; serves items nobody has touched yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.features import KINDS
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from ...params import Params
from .._base import Cost, Explanation, Source, block_bytes
from .._inputs import Inputs
from .._portable import Portable
from .._vectors import cosines
from ..deep._base import DeepRecommender
from ._m6_params import M6Params
from ._m6_parts import AXES, without_effect

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches

ITEM_BLOCK = 2**15  # items encoded at once when all are
WHOLE_CATALOGUE = 20_000  # items up to which every step compares with all
LEVELS_FROM_USERS = 20_000  # with fewer, more levels have too little to learn from
MOST_CHOOSERS = 100  # users of an item that are looked at


class M6Rec(DeepRecommender):
    """Multi-level feature-specialised recommender.

    Source: the plan of this workbench: Z_l = Encoder_l(x), Z = Fuser(Z_1 … Z_L) from the top down, y = Generator(y_u, y_i, Z_u, Z_i).
    Parts: hidden ids, Volkovs et al. 2017 (DropoutNet, https://papers.nips.cc/paper/7081); densely connected levels, Huang et al. 2017
    (https://arxiv.org/abs/1608.06993); sampled softmax as in Yi et al. 2019 (https://doi.org/10.1145/3298689.3346996).
    Differs: the last step of the generator is a product of a user's and an item's vector, so that a list looks at the whole
    catalogue at once; a step hides a part of each history and finds it from the rest, as in `two_tower`.
    New items: id, high-level features and bias of an item that training knows nothing of are not read, and while learning
    those of a random share of the items are hidden too. Items from outside: `new_item_vectors(table)`.
    Shapes: item_vectors (I, factors), user_vectors (B, factors), float32, of unit length: scores are cosines (ratings: product + bias).
    Cost: a pass is about users / batch × items met in a step × (fields × factors + levels² × factors × width + batch × factors).
    """

    key = "m6_rec"
    label = "Multi-level features (M6-Rec)"
    family = "Features"
    summary = (
        "For data with columns about items and users: learns which of them matter and how they act together, beside ids and histories, "
        "and ranks items nobody has touched yet by what they are."
    )
    source = Source(
        "Volkovs, Yu, Poutanen: DropoutNet: Addressing Cold Start in Recommender Systems (2017); the plan of this workbench",
        "https://papers.nips.cc/paper/7081-dropoutnet-addressing-cold-start-in-recommender-systems",
    )
    Params = M6Params
    ablation_axes = AXES
    reads_features = True
    reads_user_table = True
    inputs: Inputs
    left_out_at_most: ClassVar[int] = 200

    @classmethod
    def unread_kinds(cls, params: Params) -> tuple[str, ...]:
        return tuple(KINDS) if not params.features else () if params.text else ("text",)

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {
            "levels": 0 if stats.n_users < LEVELS_FROM_USERS else 1,
            "factors": int(np.clip(16 * round(np.sqrt(stats.n_users) / 4), 16, 128)),
            # Cosines span 2 / temperature on the log scale, which must hold the odds of one item against all.
            "temperature": round(1.5 / np.log(max(10, stats.n_items)), 3),
            # A title that is read in many numbers is as good as an id: one number for a hundred items.
            "text_numbers": int(np.clip(stats.n_items // 100, 16, 64)),
            "batch_size": int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 10)), 8, 512)),
            "extra_items": stats.n_items if stats.n_items <= WHOLE_CATALOGUE else 2048,
        }

    @classmethod
    def without_effect(cls, params: Params, data: Dataset) -> dict[str, str]:
        return without_effect(params, data)

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        length = stats.n_interactions / max(1, stats.n_users)
        met = min(stats.n_items, p.batch_size * min(length, p.history) + p.extra_items)
        fields = 10 if p.features and (stats.has_item_table or stats.has_user_table) else 2
        inside = p.factors * (fields * 4 + (p.levels + 1) * 8) + p.levels * 4 * p.width
        weights = (
            4 * stats.n_items * p.factors * (2 * p.ids + (p.item_history == "users") + 3) + 16 * stats.n_users * p.factors * p.user_ids
        )
        memory = 4 * weights + 4 * met * inside + 48 * p.batch_size * met + 12 * stats.n_items * fields * 4 + 100 * p.batch_size * length
        steps = stats.n_users / p.batch_size
        work = met * (fields * p.factors + p.levels * (p.levels + 2) * p.factors * p.width) + p.batch_size * met * p.factors
        passes = p.epochs * (0.6 if p.patience else 1)
        a_pass = 1.2e-5 * stats.n_interactions + 0.005 * steps + 5e-10 * steps * work
        note = "passes × users / batch × items met in a step × fields and levels"
        return Cost(int(1.2 * memory + 80 * stats.n_interactions + block_bytes(stats)), 2 + passes * a_pass, note)

    # ---- learning --------------------------------------------------------------------------------
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        p = self.resolved
        counts = np.diff(data.matrix("seen").tocsc().indptr) if p.loss == "mse" else data.item_counts
        options = {"features": p.features, "derived": p.derived, "text": p.text, "ids": p.ids}
        self.inputs, notes = Inputs.fit(data, ctx, counts, **options)
        self.notes += notes
        super()._fit(data, ctx, validation)

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        from ...nn.multilevel import Shape
        from ._m6_net import M6Net, choosers_of

        p = self.resolved
        shape = Shape(p.factors, p.width, p.levels, p.fuser, p.adaptive, p.pooling, p.generator, p.dropout, p.text_numbers)
        chosen = None
        if p.item_history == "users" and p.ids:
            pairs = self.fitted.matrix("seen" if p.loss == "mse" else "binary").tocoo()
            chosen = choosers_of(pairs.row, pairs.col, n_users, n_items, MOST_CHOOSERS)
        self.lazy_tables = ("item_tower.id", "history_id") if p.ids else ()
        return M6Net(self.inputs, n_users, n_items, shape, ids=p.ids, user_ids=p.user_ids, ratings=p.loss == "mse", choosers=chosen)

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        from ._m6_objective import objective

        return objective(self.network, self.inputs, data, self.resolved, device)

    def _validation_metric(self, validation: Holdout | None) -> tuple[str, bool]:
        if self.resolved.loss == "mse" and validation is not None and not validation.cold:
            return "rmse", False
        return super()._validation_metric(validation)

    def _validation_score(self, validation: Holdout) -> float:
        if self._validation_metric(validation)[0] != "rmse":
            return super()._validation_score(validation)
        truth = validation.truth
        return float(np.sqrt(np.mean((self._rating(truth.user, truth.item) - truth.value) ** 2)))

    # ---- vectors ---------------------------------------------------------------------------------
    def _ready(self) -> None:
        import torch

        from ._m6_net import Items

        network = self.network.eval()
        with torch.inference_mode():
            every = torch.arange(self.fitted.n_items, device=network.known.device).split(ITEM_BLOCK)
            self._items = Items(*(torch.cat(part) for part in zip(*(network.items(codes) for codes in every), strict=True)))

    @property
    def item_vectors(self) -> np.ndarray:
        """float32 (I, d): the vector of every item; row i is item code i."""
        return self._items.vectors.cpu().numpy()

    def new_item_vectors(self, table: pd.DataFrame) -> np.ndarray:
        """float32 (n, d) vectors of items the model has never seen, from a table with (some of) the item table's columns."""
        import torch

        with torch.inference_mode():
            return self.network.new_items(self.inputs.new_items(table), self.inputs.item_layout).cpu().numpy()

    def user_vectors(self, histories: Histories, users: np.ndarray | None = None, without: np.ndarray | None = None) -> np.ndarray:
        """float32 (B, d). users: codes whose row of the user table is read, -1: none. without: (B,) user field left out, -1: none."""
        return self._users(histories, users, without)[0].cpu().numpy()

    def _users(
        self, histories: Histories, users: np.ndarray | None, without: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(vectors (B, d), offsets (B,) of ratings, shares of the fields)."""
        import torch

        from ...nn.batches import Ragged
        from .._pairs import distinct
        from ._m6_net import rating_offset

        device, p = self._items.vectors.device, self.resolved
        ratings = p.loss == "mse"
        read = distinct(histories if ratings else histories.relevant(self.fitted.threshold), self.fitted.n_items).last(p.history)
        codes = (
            torch.full((len(histories),), -1, device=device)
            if users is None
            else torch.as_tensor(np.asarray(users, np.int64), device=device)
        )
        known = torch.zeros(len(histories), dtype=torch.bool, device=device)
        if p.user_ids and users is not None:
            known = torch.as_tensor(self.fitted.user_counts > 0, device=device)[codes.clamp(min=0)]
        with torch.inference_mode():
            history = Ragged(*(torch.as_tensor(x.astype(np.int64), device=device) for x in (read.items, read.indptr)))
            amounts = torch.as_tensor((read.values - self._mean) / self._spread, device=device) if ratings else None
            derived = torch.as_tensor(self.inputs.of_histories(histories), device=device)
            left = None if without is None else torch.as_tensor(without, device=device)
            vectors, shares = self.network.users(history, self._items.roles, codes, derived, known, amounts, left)
            offset = rating_offset(history, amounts) if ratings else torch.zeros(len(histories), device=device)
            return vectors, offset, shares

    @property
    def _mean(self) -> float:
        return float(self.fitted.value.mean())

    @property
    def _spread(self) -> float:
        return float(self.fitted.value.std()) or 1.0

    # ---- scores ----------------------------------------------------------------------------------
    def _scored(self, histories: Histories, users: np.ndarray | None, without: np.ndarray | None = None) -> np.ndarray:
        vectors, offset, _ = self._users(histories, users, without)
        scores = (vectors @ self._items.vectors.T + self._items.biases + offset[:, None]).cpu().numpy()
        return self._mean + self._spread * scores if self.resolved.loss == "mse" else scores

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self._scored(self.fitted.histories(users), users)

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self._scored(histories, None)

    def _table_scores(self, histories: Histories, users: np.ndarray) -> np.ndarray:
        scores = self._scored(histories, users)
        unknown = histories.lengths == 0
        if "user" in self.inputs.side.tables:
            unknown &= np.asarray(users) < 0
        scores[unknown] = self._popularity()  # nothing at all is known of them
        return scores

    def _rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        if not self.predicts_ratings():
            raise Unsupported(f"{self.label} with loss={self.params.loss} ranks items and predicts no ratings.", "Set loss to mse.")
        distinct_users, at = np.unique(users, return_inverse=True)
        out = np.empty(len(users), np.float32)
        vectors, offset, _ = self._users(self.fitted.histories(distinct_users), distinct_users)
        vectors, offset = vectors.cpu().numpy(), offset.cpu().numpy()
        own, biases = self.item_vectors, self._items.biases.cpu().numpy()
        for start in range(0, len(users), ITEM_BLOCK):
            some = slice(start, start + ITEM_BLOCK)
            out[some] = np.einsum("nd,nd->n", vectors[at[some]], own[items[some]]) + biases[items[some]] + offset[at[some]]
        return self._mean + self._spread * out

    def predicts_ratings(self) -> bool:
        return self.params.loss == "mse"

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' fused vectors."""
        return cosines(self.item_vectors, items)

    # ---- reasons ---------------------------------------------------------------------------------
    def _explain(self, item: int, history: Histories, user: int | None, k: int) -> Explanation:
        from ._m6_explain import explain

        return explain(self, item, history, user, k)

    def findings(self) -> dict[str, Any]:
        from ._m6_explain import field_shares

        return {"features": field_shares(self)}

    # ---- saved -----------------------------------------------------------------------------------
    def _portable(self) -> Portable:
        from ._m6_bundle import pack

        return pack(self)

    def _state(self) -> dict[str, Any]:
        return super()._state() | self.inputs.state()

    def _restore(self, state: dict[str, Any]) -> None:
        self.inputs = Inputs.restore(state, self.fitted.n_users)
        super()._restore(state)
