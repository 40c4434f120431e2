"""What M6-Rec learns: the hidden part of each history among the items, or its ratings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.dataset import Dataset
from ...nn.batches import IndexBatches, Ragged
from ...nn.towers import contrast
from .._inputs import Inputs
from .._pairs import Pairs, Step
from ._m6_net import M6Net, rating_offset


class Objective:
    """loss(index, step) of a batch of users. Item ids are hidden at random, once a step for all rows, and with them all that is known
    of an item by its interactions; the columns of the user table are hidden for a share of the users."""

    HIDDEN_TABLES = 0.9

    def __init__(self, network: M6Net, inputs: Inputs, data: Dataset, params: Any, device: torch.device | str) -> None:
        self.network, self.inputs, self.params, self.device = network, inputs, params, device
        self.ratings = params.loss == "mse"
        self.pairs = Pairs(data, self.ratings, device)
        self.batches = IndexBatches(len(self.pairs.active), params.batch_size)
        counts = self.pairs.rows.offsets.diff()[self.pairs.active].double()
        say = counts ** (1 - params.activity_damping)
        self.weight = (say / say.mean()).float()
        per_item = np.bincount(self.pairs.item, minlength=data.n_items)
        self.share = torch.as_tensor((per_item / per_item.sum()).astype(np.float32), device=device)
        # Items told by nothing but their features are no negatives: nobody has had the choice.
        self.compared = torch.as_tensor(np.flatnonzero(inputs.known), device=device)
        self.whole = params.extra_items >= len(self.compared)
        self.has_table = len(inputs.user_table.kinds) > 0
        self.id_dropout = params.id_dropout if "item" in inputs.side.tables and params.ids else 0.0
        self.masks = network.choosers is not None
        self.n_users = data.n_users
        self.mean, self.spread = float(data.value.mean()), float(data.value.std()) or 1.0

    def __call__(self, index: Tensor, step: int) -> Tensor:
        users = self.pairs.active[index]
        now = self.pairs.step(users, self.params.hidden, self.params.history, self.has_table)
        targets, shown = self.pairs.items[now.targets], self.pairs.items[now.shown.columns]
        if self.ratings:
            codes, place = torch.unique(torch.cat([targets, shown]), return_inverse=True)
        elif self.whole:
            codes, times, n_compared = self.compared, None, len(self.compared)
            place = torch.searchsorted(codes, torch.cat([targets, shown]))
        else:
            drawn = self.compared[torch.randint(len(self.compared), (self.params.extra_items,), device=self.device)]
            met, times = torch.unique(torch.cat([targets, drawn]), return_counts=True)
            codes, place = self._beside(met, targets, shown)
            n_compared = len(met)
        items = self.network.items(codes, self._kept(codes), self._masked(users))
        history = Ragged(place[len(targets) :], now.shown.offsets)
        vectors, amounts = self._users(users, now, history, items.roles)
        weight = self.weight[index][now.of] / torch.bincount(now.of, minlength=len(index))[now.of] / len(index)
        place = place[: len(targets)]
        if self.ratings:
            rated = (vectors[now.of] * items.vectors[place]).sum(1) + items.biases[place] + rating_offset(history, amounts)[now.of]
            error = rated - (self.pairs.values[now.targets] - self.mean) / self.spread
            return torch.dot(weight, error.square())
        scores = (vectors @ items.vectors[:n_compared].T).float() / self.params.temperature
        expected = torch.zeros(n_compared, device=self.device)
        if times is None:
            times = torch.ones(n_compared, device=self.device)
        else:
            others = len(targets) * (1 - 1 / len(index))
            expected = (others * self.share[codes[:n_compared]] + self.params.extra_items / len(self.compared)).log()
        return contrast(scores, now.of, place, expected, times, self._own(now.all, codes[:n_compared], scores), weight)

    def _users(self, users: Tensor, now: Step, history: Ragged, roles: Tensor) -> tuple[Tensor, Tensor | None]:
        amounts = (self.pairs.values[now.shown.columns] - self.mean) / self.spread if self.ratings else None
        derived = torch.zeros(len(users), 0, device=self.device)
        if "user" in self.inputs.derived:
            shown = self.pairs.shown_histories(users.cpu().numpy(), now.targets.cpu().numpy(), now.shown)
            derived = torch.as_tensor(self.inputs.of_histories(shown), device=self.device)
        told = torch.rand(len(users), device=self.device) >= self.HIDDEN_TABLES
        codes = torch.where(told, users, -1)
        return self.network.users(history, roles, codes, derived, torch.ones_like(told), amounts)[0], amounts

    def _beside(self, met: Tensor, targets: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
        """(codes, place): the items met and after them those shown that are not among them; where each target and shown item is."""
        more = torch.unique(shown)
        at = torch.searchsorted(met, more).clamp(max=len(met) - 1)
        more = more[met[at] != more]
        place = torch.searchsorted(met, shown).clamp(max=len(met) - 1)
        outside = met[place] != shown
        place = torch.where(outside, len(met) + torch.searchsorted(more, shown), place)
        return torch.cat([met, more]), torch.cat([torch.searchsorted(met, targets), place])

    def _own(self, every: Ragged, codes: Tensor, scores: Tensor) -> Tensor:
        """bool (B, N): items the row's user has chosen, which are no negatives."""
        excluded = torch.zeros(scores.shape, dtype=torch.bool, device=self.device)
        own = self.pairs.items[every.columns]
        at = torch.searchsorted(codes, own).clamp(max=len(codes) - 1)
        met = codes[at] == own
        excluded[every.rows[met], at[met]] = True
        return excluded

    def _kept(self, codes: Tensor) -> Tensor:
        return torch.rand(len(codes), device=self.device) >= self.id_dropout

    def _masked(self, users: Tensor) -> Tensor | None:
        if not self.masks:
            return None
        return torch.zeros(self.n_users, dtype=torch.bool, device=self.device).index_fill(0, users, True)


def objective(
    network: M6Net, inputs: Inputs, data: Dataset, params: Any, device: torch.device | str
) -> tuple[IndexBatches, Callable[[Tensor, int], Tensor]]:
    made = Objective(network, inputs, data, params, device)
    return made.batches, made
