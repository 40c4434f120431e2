"""Two towers: users and items become unit vectors; ids, histories and features all work, new items included."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset, DatasetStats
from ...data.features import CYCLES, FeatureEncoder
from ...data.histories import Histories
from ...data.holdout import Holdout
from ...errors import Unsupported
from ...params import Params, param
from .._base import Cost, Source, block_bytes
from .._features import SideFeatures
from ._base import DeepRecommender, TrainingParams
from ._training import averaging_param, learning_rate_param

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches
    from .._portable import Portable

ITEM_BLOCK = 2**16  # items encoded at once when all are


class TwoTowerParams(TrainingParams):
    learning_rate: float = learning_rate_param(0.003, 3e-4, 3e-2)
    averaging: float = averaging_param(0.99)
    factors: int | Literal["auto"] = param(
        "auto",
        ge=2,
        le=2048,
        label="Factors",
        help="How many numbers describe a user and an item. Automatic: by the number of users.",
        tune=(32, 256, "log"),
    )
    layers: int | Literal["auto"] = param(
        "auto",
        ge=0,
        le=6,
        label="Layers of each tower",
        help="Hidden layers between what is known of a user or item and its vector; 0 = the sum alone. Automatic: by the number of users.",
        tune=(0, 2, "linear"),
    )
    temperature: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=10,
        label="Temperature",
        help="The lower, the more the wrong items that are closest count. Automatic: by the number of items, 0.15 for some thousand.",
        tune=(0.05, 0.4, "log"),
    )
    learn_temperature: bool = param(
        False,
        label="Learn the temperature",
        help="Let learning move the temperature from there. On small data it then learns the histories by heart.",
        advanced=True,
    )
    hidden: float = param(
        0.7,
        gt=0,
        lt=1,
        label="History to be guessed",
        help="Share of each history that is hidden at every step and has to be found from the rest.",
        tune=(0.3, 0.9, "linear"),
    )
    dropout: float = param(
        0.0,
        ge=0,
        lt=1,
        label="Dropout",
        help="Share of the users' and items' numbers switched off at each learning step, against learning by heart.",
        tune=(0.0, 0.6, "linear"),
    )
    extra_items: int | Literal["auto"] = param(
        "auto",
        ge=0,
        le=100_000,
        label="Random items compared with",
        help="Beside the items that others in the same step chose: without any, rare items are hardly ever learnt about. "
        "Automatic: by the number of items.",
        advanced=True,
    )
    hide_ids: float = param(
        0.1,
        ge=0,
        lt=1,
        label="Ids hidden while learning",
        help="Share of the items known by their features alone at each step, as new items will be. Without an item table it has no effect.",
        advanced=True,
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


class TwoTower(DeepRecommender):
    """Two towers.

    Source: Yi et al. 2019, https://doi.org/10.1145/3298689.3346996: in-batch softmax with logQ correction; negatives
    mixed with uniform ones (Yang et al. 2020, https://doi.org/10.1145/3366424.3386195); the user tower reads a pooled
    history (Covington et al. 2016, https://doi.org/10.1145/2959100.2959190), so a new user needs nothing but one.
    Differs: a step hides a random part of each user's history and finds all of it from the rest, instead of one
    target a row: no target is in its own history, and every item is scored once a user (`nn.towers.contrast`, the
    same estimate). Shares of the items are counted, not estimated from a stream. Users have no id vector: beside
    their history it gained nothing. Towers are a sum of id and features plus, on large data, hidden layers.
    New items: an item of the data that nobody chose is served from its features alone (its id was never learnt);
    items from outside get vectors by `new_item_vectors(table)`.
    Nearest-neighbour index: the lists are the exact search for the largest inner product of `user_vectors(histories)`
    in `item_vectors`, all of unit length, so cosine, inner product and Euclidean distance agree:
        index = faiss.IndexFlatIP(d); index.add(model.item_vectors); index.search(model.user_vectors(histories), k)
        index = hnswlib.Index("cosine", d); index.init_index(n_items); index.add_items(model.item_vectors)
    Shapes: item_vectors (I, factors), user_vectors (B, factors), float32. Scores are cosines.
    Cost: a pass is about 6 · users · items met in a step · factors multiplications.
    """

    key = "two_tower"
    label = "Two towers"
    ablation_axes = {"layers": (0, 1, 2)}
    summary = (
        "For large catalogues and items nobody has touched yet: reads histories, ids and the tables of users and items, "
        "and its vectors go into any nearest-neighbour index; without tables, simpler models rank small data as well."
    )
    source = Source(
        "Yi, Yang, Hong, Cheng, Heldt, Kumthekar, Zhao, Wei, Chi: Sampling-Bias-Corrected Neural Modeling for Large Corpus Item "
        "Recommendations (2019)",
        "https://doi.org/10.1145/3298689.3346996",
    )
    Params = TwoTowerParams
    reads_features = True
    without_kinds = ("text", "vector", CYCLES)
    encoders: dict[str, FeatureEncoder]  # "item", "user": those sides whose table gives features
    features: dict[str, sparse.csr_matrix]  # row i describes code i
    lazy_tables: ClassVar[tuple[str, ...]] = ("item_id", "history_id")

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        return {
            "factors": int(np.clip(16 * round(np.sqrt(stats.n_users) / 4), 16, 128)),
            "layers": 0 if stats.n_users < 20_000 else 1,
            "batch_size": int(np.clip(2 ** np.round(np.log2(max(1, stats.n_users) / 10)), 8, 512)),
            "extra_items": min(stats.n_items, 1024),
            # Cosines span 2 / temperature on the log scale, which must hold the odds of one item against all.
            "temperature": round(1 / (0.9 * np.log(max(10, stats.n_items))), 3),
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        length = stats.n_interactions / max(1, stats.n_users)
        met = min(stats.n_items, p.batch_size * p.hidden * length + p.extra_items)  # items encoded a step
        width = p.factors * (1 + 4 * p.layers)
        memory = 48 * stats.n_items * p.factors + 24 * p.batch_size * met + 40 * met * width + 100 * p.batch_size * length
        steps = stats.n_users / p.batch_size
        a_pass = 1.5e-6 * stats.n_interactions + 0.003 * steps + 1.6e-10 * steps * met * (p.batch_size * p.factors + p.factors * width)
        passes = p.epochs * (0.6 if p.patience else 1)  # both trainings, stopped early
        note = "passes × (interactions + users × items met in a step)"
        return Cost(int(memory + 60 * stats.n_interactions + block_bytes(stats)), 2 + passes * a_pass, note)

    # ---- learning --------------------------------------------------------------------------------
    def _fit(self, data: Dataset, ctx: RunContext, validation: Holdout | None) -> None:
        read = SideFeatures.fit(data, ctx, without=self.without_kinds)
        self.encoders, self.features = read.encoders, {side: table.matrix for side, table in read.tables.items()}
        super()._fit(data, ctx, validation)

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        import torch

        from ...nn.towers import TwoTowerNet

        p = self.resolved
        trained = torch.as_tensor(self.fitted.item_counts > 0)
        network = TwoTowerNet(
            n_items,
            p.factors,
            p.layers,
            p.dropout,
            p.temperature,
            trained,
            self.features.get("item"),
            self.features.get("user"),
            p.hide_ids,
        )
        network.log_scale.requires_grad_(p.learn_temperature)
        return network

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        import torch

        from ...nn.batches import IndexBatches, SparseRows
        from ...nn.towers import contrast, hide

        p, network = self.resolved, self.network
        positives = SparseRows(data.matrix("binary"), device)
        active = torch.as_tensor(np.flatnonzero(data.user_counts), device=device)
        say = data.user_counts[data.user_counts > 0] ** (1 - p.activity_damping)
        weight = torch.as_tensor((say / say.mean()).astype(np.float32), device=device)
        share = torch.as_tensor((data.item_counts / data.item_counts.sum()).astype(np.float32), device=device)
        # Items known by nothing but their features are no negatives: nobody has had the choice.
        pool = torch.as_tensor(np.flatnonzero(data.item_counts) if "item" in self.features else np.arange(data.n_items), device=device)

        def loss(index: Tensor, step: int) -> Tensor:
            users = active[index]
            chosen = positives.take(users)
            shown, targets, of = hide(chosen, p.hidden)
            drawn = pool[torch.randint(len(pool), (p.extra_items,), device=device)]
            codes, place, times = torch.unique(torch.cat([targets, drawn]), return_inverse=True, return_counts=True)
            others = len(targets) * (1 - 1 / len(index))  # targets of a row's own user are no draws for it
            expected = others * share[codes] + p.extra_items / len(pool)
            scores = network.users(shown, users) @ network.items(codes).T * network.scale
            excluded = torch.zeros(scores.shape, dtype=torch.bool, device=device)
            at = torch.searchsorted(codes, chosen.columns).clamp(max=len(codes) - 1)
            met = codes[at] == chosen.columns
            excluded[chosen.rows[met], at[met]] = True
            each = weight[index] / torch.bincount(of, minlength=len(index)) / len(index)  # a target of each user
            return contrast(scores, of, place[: len(targets)], expected.log(), times, excluded, each[of])

        return IndexBatches(len(active), p.batch_size), loss

    # ---- vectors ---------------------------------------------------------------------------------
    def _ready(self) -> None:
        import torch

        device = self.network.log_scale.device
        with torch.inference_mode():
            every = torch.arange(self.fitted.n_items, device=device).split(ITEM_BLOCK)
            self._item_vectors = torch.cat([self.network.eval().items(codes) for codes in every]).cpu().numpy()

    @property
    def item_vectors(self) -> np.ndarray:
        """float32 (I, d): the unit vector of every item; row i is item code i."""
        return self._item_vectors

    def new_item_vectors(self, table: pd.DataFrame) -> np.ndarray:
        """float32 (n, d) unit vectors of items the model has never seen, from a table with (some of) the item table's columns."""
        import torch

        if "item" not in self.encoders:
            raise Unsupported(f"{self.label} learnt no features of items, so it cannot place new ones.", "Train it with an item table.")
        weight = self.network.item_features.weight.detach().numpy()
        with torch.inference_mode():
            return self.network.item_tower(torch.as_tensor(self.encoders["item"].encode(table) @ weight)).numpy()

    def user_vectors(self, histories: Histories, users: np.ndarray | None = None) -> np.ndarray:
        """float32 (B, d): unit vectors of histories; users: codes of the training users they are of, for their features."""
        import torch

        from ...nn.batches import SparseRows

        device = self.network.log_scale.device
        known = torch.as_tensor(np.asarray(users, np.int64), device=device) if users is not None else None
        with torch.inference_mode():
            return self.network.users(SparseRows(self._positives(histories), device).all(), known).cpu().numpy()

    def _scores(self, users: np.ndarray) -> np.ndarray:
        return self.user_vectors(self.fitted.histories(users), users) @ self.item_vectors.T

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return self.user_vectors(histories) @ self.item_vectors.T

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' vectors."""
        return self.item_vectors[items] @ self.item_vectors.T

    def _portable(self) -> Portable:
        from ._two_tower_bundle import pack

        return pack(self.network, self.item_vectors, self.fitted.threshold, lambda: self.user_vectors(self.fitted.histories()))

    # ---- saved: the tables are not saved with a model, what it needs of them is ------------------
    def _state(self) -> dict[str, Any]:
        encoders = {side: encoder.to_dict() for side, encoder in self.encoders.items()}
        return super()._state() | {f"features.{side}": table for side, table in self.features.items()} | {"encoders": encoders}

    def _restore(self, state: dict[str, Any]) -> None:
        self.encoders = {side: FeatureEncoder.from_dict(saved) for side, saved in state["encoders"].items()}
        self.features = {side: sparse.csr_matrix(state[f"features.{side}"]) for side in self.encoders}
        super()._restore(state)
