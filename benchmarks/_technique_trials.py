"""The data and the models of `training_techniques.py`: GMF as it is, and as it would be with another objective."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.nn.batches import IndexBatches, SparseRows
from recsys_core.nn.interaction import InteractionNet
from recsys_core.nn.losses import ranking_loss
from recsys_core.testing.sequences import second_order

if TYPE_CHECKING:
    from recsys_core.models.deep._base import DeepRecommender

GROUPS = ("ml-100k", "catalogue", "sequences")


@dataclass(frozen=True)
class Data:
    title: str
    train: Dataset
    validation: Holdout


def load(group: str, folder: Path) -> Data:
    """The data of a table."""
    ctx = RunContext(seed=42)
    if group == "ml-100k":
        import pandas as pd

        whole = from_frame(pd.read_csv(folder / "train.csv.gz", dtype={"user": str, "item": str}))
        return Data("ml-100k, generalised matrix factorisation", *registry.get("splitter", "random")().validation(whole, ctx))
    if group == "sequences":
        whole = second_order(n_users=800, n_items=500, n=30, seed=7).data
        return Data(
            "800 synthetic sequences of 30 items, 500 items, SASRec", *registry.get("splitter", "leave_last")().validation(whole, ctx)
        )
    return Data("A catalogue of 200,000 items, 20,000 users, generalised matrix factorisation", *catalogue())


def warm(data: Data) -> None:
    """What every run would else pay for once: modules that torch loads late, tables derived from the data."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)], fused=True)
    for kind in ("binary", "seen"):
        data.train.matrix(kind)
    data.train.histories(np.arange(1))
    data.train.histories(np.arange(1), relevant_only=True)


def catalogue(n_users: int = 20_000, n_items: int = 200_000, n_tastes: int = 200, each: int = 20) -> tuple[Dataset, Holdout]:
    """Everybody has one taste of n_items / n_tastes items, chosen by a power law; two choices of 200 users are held out."""
    rng = np.random.default_rng(0)
    inside = n_items // n_tastes
    power = np.arange(1, inside + 1) ** -0.9
    user = np.repeat(np.arange(n_users), each)
    item = rng.choice(inside, len(user), p=power / power.sum()) * n_tastes + rng.integers(0, n_tastes, n_users)[user]
    user, item = np.divmod(rng.permutation(np.unique(user * n_items + item)), n_items)
    ids = [IdMap(np.arange(size).astype(str)) for size in (n_users, n_items)]
    whole = Dataset(*ids, user, item, np.ones(len(user), np.float32))
    rank = np.empty(len(user), np.int64)
    order = np.argsort(user, kind="stable")
    rank[order] = np.arange(len(user)) - np.searchsorted(user[order], user[order])
    held = (user < 200) & (rank < 2)
    return whole.subset(~held), Holdout(whole.subset(held))


# ---- models --------------------------------------------------------------------------------------
def build(trial: str, values: dict[str, Any]) -> DeepRecommender:
    """A registered model, or GMF with an objective of its own."""
    own = {"no_log_q": NoLogQ, "gbce": OwnNegatives, "cosine": Cosine, "row_tuples": RowTuples}
    return (own.get(trial) or registry.get("model", trial))(**values)


class NoLogQ(registry.get("model", "gmf")):
    """The sampled softmax as if all draws had been equally likely."""

    def _objective(self, data: Dataset, device: Any) -> Any:
        import recsys_core.models.deep._interaction_objectives as objectives

        build_sampler = objectives.build_sampler
        even = torch.full((data.n_items,), -float(np.log(data.n_items)))

        def uncorrected(*arguments: Any) -> Any:
            sampler = build_sampler(*arguments)
            sampler.log_q = even
            return sampler

        objectives.build_sampler = uncorrected
        try:
            return super()._objective(data, device)
        finally:
            objectives.build_sampler = build_sampler


class OwnNegatives(registry.get("model", "gmf")):
    """Batches of choices, each against uniform negatives of its own, by a loss GMF does not offer."""

    ranking = "gbce"

    def _objective(self, data: Dataset, device: Any) -> Any:
        from recsys_core.models.deep._sampling import build_sampler

        p, net = self.resolved, self.network
        every = SparseRows(data.matrix("binary"), device).all()
        user, item = every.rows, every.columns
        sampler = build_sampler(p, data, device)

        def loss(index: Tensor, step: int) -> Tensor:
            users = user[index]
            drawn = sampler.sample(users, p.negatives)
            items = torch.cat([item[index, None], drawn.items], 1)
            row = torch.arange(len(items)).repeat_interleave(items.shape[1])
            scores = net.pairs(F.embedding(row, net.users(users)), *net.items(items.flatten())).view(items.shape)
            return ranking_loss(self.ranking, scores[:, 0], scores[:, 1:], log_q=drawn.log_q, excluded=drawn.excluded, n_items=data.n_items)

        return IndexBatches(len(user), p.batch_size), loss


class UnitNet(InteractionNet):
    """Scores are cosines: vectors of length 1, no bias, no weights on the factors."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.product = None

    def users(self, codes: Tensor) -> Tensor:
        return F.normalize(super().users(codes), dim=1)

    def items(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        vectors, bias = super().items(codes)
        return F.normalize(vectors, dim=1), torch.zeros_like(bias)

    def user_vectors(self) -> Tensor:
        return F.normalize(super().user_vectors(), dim=1)

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        vectors, bias = super().item_vectors()
        return F.normalize(vectors, dim=1), torch.zeros_like(bias)


class Cosine(OwnNegatives):
    ranking = "cosine_contrastive"

    def _build(self, n_users: int, n_items: int) -> Any:
        return UnitNet(n_users, n_items, *self._sizes(), self.resolved.dropout)


class RowTuples(registry.get("model", "gmf")):
    """The way it is written first: a row a choice and a row a negative, drawn in a loop, collated by a DataLoader."""

    def _objective(self, data: Dataset, device: Any) -> Any:
        net = self.network
        batches = RowBatches(data, self.resolved.negatives, self.resolved.batch_size)

        def loss(rows: Tensor, step: int) -> Tensor:
            scores = net.pairs(net.users(rows[:, 0]), *net.items(rows[:, 1]))
            each = F.binary_cross_entropy_with_logits(scores, rows[:, 2].float())
            return each * (1 + self.resolved.negatives)  # the sum over a choice, as in `losses.bce`

        return batches, loss


class RowBatches:
    """What the loop walks over: rows (user, item, label) instead of their numbers."""

    def __init__(self, data: Dataset, negatives: int, batch_size: int) -> None:
        matrix = data.matrix("binary").tocoo()
        self.choices = list(zip(matrix.row.tolist(), matrix.col.tolist(), strict=True))
        self.seen, self.n_items, self.negatives = set(self.choices), data.n_items, negatives
        self.n, self.batch_size = len(self.choices) * (1 + negatives), batch_size * (1 + negatives)

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        chance = random.Random(int(torch.randint(2**31, ())))
        users, items, labels = [], [], []
        for user, item in self.choices:
            users.append(user)
            items.append(item)
            labels.append(1)
            for _ in range(self.negatives):
                negative = chance.randrange(self.n_items)
                while (user, negative) in self.seen:
                    negative = chance.randrange(self.n_items)
                users.append(user)
                items.append(negative)
                labels.append(0)
        rows = TensorDataset(torch.tensor(users), torch.tensor(items), torch.tensor(labels))
        for columns in DataLoader(rows, batch_size=self.batch_size, shuffle=True):
            yield torch.stack(columns, 1)
