"""What one user teaches: the items shown, each told from the others, and the items to be found."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ...nn.meta.inner import Rates, Weights, adaptation
from ._network import FAR, MetaNet, Task, World


class TaskLosses:
    """The losses of one user as functions of the weights that adapt; vmapped by `nn.meta`.

    support: every item shown is told from the *other* ones shown (or from nothing, when it is alone): an item that is read cannot be
    its own answer. It is the mean, times n / (n + trust) for n items shown: one click is no certainty. query: the items to be found, from
    all shown. Both: negative log-likelihood of a softmax over the world, or squared error of ratings.
    Cost: support S · (S · d² + N · d) multiplications, N · d where the core reads no items; query N · d.
    """

    def __init__(self, network: MetaNet, world: World, params: Any) -> None:
        self.network, self.world, self.ratings = network, world, params.loss == "mse"
        self.rate, self.anchor = params.inner_rate, getattr(params, "anchor", 0.0)
        self.trust = network.log_trust.exp()
        weights = dict(network.core.named_parameters())
        self.start: Weights = {name: weights[name] for name in network.adapted}
        # The rest of the core: learnt, but not adapted.
        self.fixed: Weights = {name: weight for name, weight in weights.items() if name not in self.start}

    def user(self, weights: Weights, task: Task, there: Tensor | None = None) -> Tensor:
        """(…, d) vectors of the user with these weights, reading only what is `there` (…, S)."""
        there = task.there if there is None else there
        tokens = self.world.roles[task.shown] + self.network.rating(task.values[:, None])
        tokens = tokens * task.there[:, None]
        tokens = tokens.expand(*there.shape[:-1], -1, -1)
        return functional_call(self.network.core, self.fixed | weights, (tokens, there, task.user))

    def scores(self, users: Tensor) -> Tensor:
        """(…, N) of user vectors (…, d)."""
        return users @ self.world.vectors.T + self.world.biases

    def support(self, weights: Weights, task: Task) -> Tensor:
        return self._told(weights, task) / (task.there.sum() + self.trust)

    def before(self, tasks: Task) -> Tensor:
        """Mean loss on the items to be found, before any step."""
        return vmap(lambda task: self.query(self.start, task), randomness="different")(tasks).mean()

    def _told(self, weights: Weights, task: Task) -> Tensor:
        """The sum over the items shown."""
        if not self.network.core.reads:  # one vector for all of them
            scores = self.scores(self.user(weights, task))  # (N,)
            own, all_items = scores.gather(0, task.shown), torch.logsumexp(scores + self.world.more, 0)
            errors = (own - task.values).square() if self.ratings else all_items - own
            return (errors * task.there).sum()
        alone = torch.eye(len(task.shown), dtype=torch.bool, device=task.there.device)
        scores = self.scores(self.user(weights, task, task.there & ~alone))  # (S, N)
        own = scores.gather(1, task.shown[:, None])[:, 0]
        errors = (own - task.values).square() if self.ratings else torch.logsumexp(scores + self.world.more, 1) - own
        return (errors * task.there).sum()

    def query(self, weights: Weights, task: Task) -> Tensor:
        scores = self.scores(self.user(weights, task))
        if self.ratings:
            return ((scores - task.rated).square() * task.wanted).sum() / task.wanted.sum().clamp(min=1)
        seen = torch.zeros_like(scores).scatter_add(0, task.shown, FAR * task.there.float())  # what is shown is on no list
        return torch.logsumexp(scores + self.world.more + seen, 0) - (scores * task.wanted).sum()

    def whole(self, weights: Weights, task: Task) -> Tensor:
        """All that is known of the user, shown and to be found."""
        return self.support(weights, task) + self.query(weights, task)

    def held(self) -> TaskLosses:
        """The same with all that is shared held: for methods that move the start towards adapted weights. What is shared must not learn
        from items that the steps have just seen: it would learn to know them again."""
        held = copy.copy(self)
        held.world, held.trust = World(*(part.detach() for part in self.world)), self.trust.detach()
        return held

    def queries(self, adapted: Weights, tasks: Task) -> Tensor:
        """Mean query loss at weights (T, …) that are given: what all users share learns from it."""
        return vmap(self.query, randomness="different")(adapted, tasks).mean()

    def rates(self) -> Rates:
        """The sizes of the steps: one number, or one for each weight that adapts."""
        sizes = self.rate * self.network.log_rate.exp()
        return sizes[0] if len(sizes) == 1 else dict(zip(self.network.adapted, sizes, strict=True))

    def vectors(self, tasks: Task, steps: int) -> Tensor:
        """(T, steps + 1, d): each user's vector before the first step and after every one. No graph is kept."""

        def one(task: Task) -> Tensor:
            path = adaptation(lambda moved: self.support(moved, task), self.start, steps=steps, rates=rates, anchor=self.anchor)
            return torch.stack([self.user(weights, task) for weights in path])

        rates = self.rates()
        return vmap(one, randomness="different")(tasks)
