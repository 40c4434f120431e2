"""LightGCN: tastes and items learn from their neighbours, and the neighbours' neighbours, in the graph of who chose what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from scipy import sparse

from ...data.dataset import Dataset, DatasetStats
from ...data.histories import Histories
from ...params import Params, param
from .._base import Cost, Source
from .._portable import Portable
from .._vectors import cosines
from ._base import DeepRecommender
from ._sampling import MOST_NEGATIVES, SampledParams
from ._training import averaging_param

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ...nn.batches import IndexBatches

STEPS = {"softmax": 5, "pairs": 20}  # an epoch, at least: each propagates the whole graph
CELLS = 2**25  # users × items of a step up to which the softmax is over all items
SAMPLE = 2048  # items compared with when there are more
FOLD_IN_SAMPLE = 4096  # the same for new users
FOLD_IN_RATE = 0.1  # the loss of one user is convex in the own vector, and steps are few
PRIOR = {"softmax": 1.3, "pairs": 0.06}  # weight decay × interactions: the pull on a vector does not grow with their number


class LightGCNParams(SampledParams):
    learning_rate: float | Literal["auto"] = param(
        "auto",
        gt=0,
        le=1,
        label="Learning rate",
        help="Size of each learning step. Automatic: 0.05 for softmax, 0.02 otherwise; "
        "steps are few, since each passes over the whole graph.",
        tune=(5e-3, 1e-1, "log"),
    )
    weight_decay: float | Literal["auto"] = param(
        "auto",
        ge=0,
        le=1,
        label="Weight decay",
        help="Pulls the vectors towards zero; raise it when the validation result falls while the loss still improves. "
        "Automatic: the less the more interactions there are.",
        tune=(1e-7, 1e-3, "log"),
    )
    averaging: float = averaging_param(0.98)
    factors: int | Literal["auto"] = param(
        "auto",
        ge=1,
        le=1024,
        label="Factors",
        help="How many numbers describe a user and an item. Automatic: by the number of interactions, at most 64.",
        tune=(16, 256, "log"),
    )
    layers: int = param(
        3,
        ge=0,
        le=10,
        label="Layers",
        help="How far tastes spread: 1 = from a user's own items, 2 = from users with the same items, 3 = from their items, and so on. "
        "0 is plain matrix factorisation.",
        tune=(1, 4, "linear"),
    )
    loss: Literal["softmax", "bpr", "bce", "gbce", "cosine_contrastive"] = param(
        "softmax",
        label="What it learns",
        help="softmax: rank what a user chose above all else (best lists, fewest passes). bpr: above one other item at a time, "
        "as in the paper. bce, gbce: chosen or not. cosine_contrastive: by the angle alone, which leaves popularity aside.",
    )
    edge_dropout: float = param(
        0.0,
        ge=0,
        lt=1,
        label="Connections hidden while learning",
        help="Share of the graph's connections that is left out at each learning step, against learning by heart.",
        tune=(0.0, 0.6, "linear"),
        advanced=True,
    )
    activity_damping: float = param(
        0.5,
        ge=0,
        le=1,
        label="Damping of active users",
        help="How far the say of users with long histories is reduced while learning, with softmax: "
        "0 = each interaction counts alike, 1 = each user.",
        tune=(0.0, 1.0, "linear"),
        advanced=True,
    )
    fold_in_steps: int = param(
        10,
        ge=0,
        le=1000,
        label="Steps for a new user",
        help="How many learning steps adapt the vector of a user the model has never seen, beyond what follows from their items.",
        advanced=True,
    )


class LightGCN(DeepRecommender):
    """LightGCN.

    Source: He et al. 2020, https://arxiv.org/abs/2002.02126; scores eq. 4, layers eq. 3, their mean eq. 11.
    Differs: the softmax over a user's choices is the default loss (BPR is an option): it learns from every
    item at once, so that a few large steps an epoch do, and each step passes over the whole graph. The L2 term
    of eq. 15 is Adam's weight decay, on all vectors in each step. Weights are averaged. New users (not in the
    paper) receive from their items as training users do, and an own vector by a few gradient steps.
    Cost: a step takes 4 × layers products of the graph with the vectors (interactions × factors), which
    is the whole price of a small batch; see nn/graph.py.
    """

    key = "lightgcn"
    label = "LightGCN"
    summary = (
        "Spreads tastes over the graph of who chose what: nearly as accurate as the best autoencoders on well-connected data, with one "
        "vector a user and an item; choose a linear model where most items have few interactions."
    )
    source = Source(
        "He, Deng, Wang, Li, Zhang, Wang: LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation (2020)",
        "https://arxiv.org/abs/2002.02126",
    )
    Params = LightGCNParams
    left_out_at_most: ClassVar[int] = 100

    @classmethod
    def auto_params(cls, params: Params, stats: DatasetStats) -> dict[str, Any]:
        n, softmax = max(1, stats.n_interactions), params.loss == "softmax"
        kind = "softmax" if softmax else "pairs"
        if softmax:
            batch = int(np.clip(-(-stats.n_users // STEPS[kind]), 16, 8192))
            rows = batch if params.batch_size == "auto" else params.batch_size
            negatives = stats.n_items if rows * stats.n_items <= CELLS and stats.n_items <= MOST_NEGATIVES else min(SAMPLE, stats.n_items)
        else:
            batch, negatives = int(np.clip(n // STEPS[kind], 64, 2**18)), 1 if params.loss == "bpr" else 4
        return {
            "factors": int(np.clip(2 ** np.round(np.log2(n**0.5 / 4)), 8, 64)),
            "learning_rate": 0.05 if softmax else 0.02,
            "weight_decay": min(1e-4, float(f"{PRIOR[kind] / n:.2g}")),
            "batch_size": batch,
            "negatives": negatives,
            "popularity": 0.75 if params.sampler == "popularity" else 0.0,
        }

    def cost(self, stats: DatasetStats) -> Cost:
        p = self.resolve(stats)
        n, vectors = stats.n_interactions, (stats.n_users + stats.n_items) * p.factors
        rows = stats.n_users if p.loss == "softmax" else n
        per_row = n / max(1, stats.n_users) if p.loss == "softmax" else 1
        batch, steps = min(p.batch_size, rows), -(-rows // p.batch_size)
        compared = p.negatives + per_row
        scores = batch * (12 * compared + 12 * per_row * p.factors if p.loss == "softmax" else 12 * compared * p.factors)
        table = min(256 * 2**20, stats.n_users * stats.n_items) + 8 * n
        # A product gathers interactions × factors numbers: from the cache while the vectors fit it, then from memory.
        rate = 2e10 if 4 * vectors < 2**25 else 3e9
        seconds = steps * (4 * p.layers * n * p.factors / rate + 20 * vectors / 3e9) + rows * compared * (6 * p.factors + 20) / 2e10
        return Cost(
            int(32 * vectors + 40 * n + scores + table),
            2 + 2 * min(p.epochs, 60) * seconds,
            f"passes × {steps:,} steps, each over all interactions × {p.factors} factors × {p.layers} layers",
        )

    def _build(self, n_users: int, n_items: int) -> nn.Module:
        from ...nn.graph import GraphNet, UserItemGraph

        p = self.resolved
        return GraphNet(UserItemGraph(self.fitted.matrix("binary")), p.factors, p.layers, p.edge_dropout)

    # ---- learning --------------------------------------------------------------------------------
    def _vectors(self) -> tuple[Tensor, Tensor]:
        """(U, d), (I, d): propagated; of length 1 where scores are cosines."""
        from torch.nn.functional import normalize

        vectors = self.network()
        return tuple(normalize(x, dim=1) for x in vectors) if self.resolved.loss == "cosine_contrastive" else vectors

    def _objective(self, data: Dataset, device: Any) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
        from ._graph_objectives import pair_objective, softmax_objective

        return (softmax_objective if self.resolved.loss == "softmax" else pair_objective)(self, data, device)

    @property
    def _over_all_items(self) -> bool:
        return self.resolved.sampler == "uniform" and self.resolved.negatives >= self.fitted.n_items

    def _say(self, counts: np.ndarray) -> np.ndarray:
        """float32: how much each choice of users with so many choices counts; a training user's choices sum to 1 on average."""
        return (np.maximum(counts, 1).astype(np.float64) ** -self.resolved.activity_damping / self._usual).astype(np.float32)

    @property
    def _usual(self) -> float:
        """What the choices of a training user count together, on average, before that is made 1."""
        own = self.fitted.user_counts[self.fitted.user_counts > 0].astype(np.float64)
        return float((own ** (1 - self.resolved.activity_damping)).mean())

    # ---- scoring ---------------------------------------------------------------------------------
    def _ready(self) -> None:
        """The propagated vectors; and for new users what items hand on to them, and where users of an item are at first."""
        import torch

        net = self.network
        with torch.no_grad():
            self._user, self._item = self._vectors()
            net.graph.to(self._device)
            first = net.user.weight.detach(), net.item.weight.detach()
            layers = net.graph.layers(*first, max(0, net.layers - 1))[: net.layers]
            self._passed_on = sum((item for _, item in layers), torch.zeros_like(first[1])).cpu().numpy()
        chosen = self.fitted.matrix("binary").T  # csc: the product needs no copy
        self._start = (chosen @ first[0].cpu().numpy()) / np.maximum(self.fitted.item_counts, 1)[:, None]

    @property
    def _device(self) -> torch.device:
        return self.network.user.weight.device

    def _scores(self, users: np.ndarray) -> np.ndarray:
        import torch

        vectors = self._user[torch.as_tensor(users, dtype=torch.int64, device=self._device)]
        # Who liked nothing has no place in the graph: their vector is that of their history, as for a new user.
        outside = np.flatnonzero(self.fitted.user_counts[users] == 0)
        if len(outside):
            vectors[outside] = self._fold_in(self.fitted.histories(users[outside]))
        return (vectors @ self._item.T).cpu().numpy()

    def _history_scores(self, histories: Histories) -> np.ndarray:
        return (self._fold_in(histories) @ self._item.T).cpu().numpy()

    def _fold_in(self, histories: Histories) -> Tensor:
        """(B, d): what the history's items hand on (eq. 3), and an own vector found by a few gradient steps.

        The sum is that of a training user; of the own vector the start is the mean over similar users, and the
        steps are on the training loss of that user alone.
        """
        import torch

        from ...nn.fold_in import descend

        p, device = self.resolved, self._device
        liked = self._positives(histories)
        counts = np.diff(liked.indptr)
        edges = sparse.csr_matrix((np.repeat(counts.clip(1) ** -0.5, counts), liked.indices, liked.indptr), liked.shape)
        handed_on = (edges.multiply(np.maximum(self.fitted.item_counts, 1) ** -0.5)).tocsr() @ self._passed_on
        start = liked @ self._start / counts.clip(1)[:, None]
        handed_on, start = (torch.as_tensor(x.astype(np.float32), device=device) for x in (handed_on, start))
        say, size = (torch.as_tensor(x, dtype=torch.float32, device=device) for x in (self._say(counts), counts))
        wanted = torch.as_tensor(liked @ self._item.cpu().numpy(), device=device)
        others, pull = self._item.index_select(0, torch.as_tensor(self._sample, device=device)), self._pull

        def vectors(own: Tensor) -> Tensor:
            return (own + handed_on) / (p.layers + 1)

        def loss(own: Tensor) -> Tensor:
            # The scores of a row's choices add up to one product with the sum of their vectors.
            v = vectors(own)
            return torch.dot(say, size * (v @ others.T).logsumexp(1) - (v * wanted).sum(1)) + pull * own.square().sum()

        return vectors(descend(start, loss, p.fold_in_steps, FOLD_IN_RATE))

    @property
    def _sample(self) -> np.ndarray:
        """The items that new users' choices are compared with, the same for everyone."""
        return np.sort(np.random.default_rng(0).permutation(len(self._item))[:FOLD_IN_SAMPLE])

    @property
    def _pull(self) -> float:
        """How strongly a new user's own vector is pulled to 0, as the training users' are."""
        return self.resolved.weight_decay * np.count_nonzero(self.fitted.user_counts) / 2

    def _portable(self) -> Portable:
        data, p, users = self.fitted, self.resolved, self._user.cpu().numpy().copy()
        outside = np.flatnonzero((data.user_counts == 0) & (self._history_sizes() > 0))
        if len(outside):
            users[outside] = self._fold_in(data.histories(outside)).cpu().numpy()
        settings = {"threshold": data.threshold, "layers": p.layers, "steps": p.fold_in_steps, "rate": FOLD_IN_RATE}
        settings |= {"pull": self._pull, "damping": p.activity_damping, "usual": self._usual}
        matrices = {"items": self._item.cpu().numpy(), "passed_on": self._passed_on, "start": self._start.astype(np.float32)}
        if len(self._sample) < data.n_items:
            matrices["sample"] = self._sample
        return Portable("lightgcn", matrices, settings, user_matrices={"users": users})

    def _similar(self, items: np.ndarray) -> np.ndarray:
        """Cosine of the items' propagated vectors."""
        return cosines(self._item.cpu().numpy(), items)
