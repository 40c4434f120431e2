"""Items as tasks: a new item is told by its columns, placed by its first few users, and found by the others who choose it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...data.histories import Histories
from ...nn.meta.inner import Weights, adapt
from ...nn.meta.outer import post_adaptation
from .._pairs import Pairs
from ._losses import TaskLosses
from ._network import FAR, MetaNet, World
from ._tasks import of_histories

SAMPLE = 512  # users that items meet in a pass
HIDDEN = 0.2  # share of the items that these users have not met in a pass
ITEMS = 32  # items a step
CELLS = 2**22  # scores held at once

ALONE = 0.1  # share of the items that show nobody: what is known of an item nobody has chosen yet


class Crowd(NamedTuple):
    """Users that all items of a step meet. vectors (M, d); others (M,): logarithm of the sum of exp(score) over all other items they may
    choose; active (M,): how many items they choose, 0 for who is not counted as public."""

    vectors: Tensor
    others: Tensor
    active: Tensor


class ItemTask(NamedTuple):
    """One item (vmapped: a leading dimension). vector (d,), bias (): as told by its columns; shown, wanted bool (M,): the users that
    place it, and those it has to find; public (): how many choose it in all, expected or known."""

    vector: Tensor
    bias: Tensor
    shown: Tensor
    wanted: Tensor
    public: Tensor


class ItemLosses:
    """The part of the softmax over items, summed over users, that one item has to do with, as a function of its vector and bias.

    A user with n choices adds n · log(others + exp(s)) - [chosen] · s, with s the item's score: but for a constant n · softplus(a) -
    [chosen] · a, with a = s - log others. It is convex, and minimal where the item is chosen as often as it should be, by those who did.
    support: divided by the public the item would have unadapted, so that few users say who likes it, not that few do; times
    n / (n + trust) for n users shown. query: divided by the public it has. Second order: a step is a product, so that differentiating
    through it costs little more than not.
    Shapes: weights {"vector": (d,), "bias": ()}, what is added to the start. Cost: M · d multiplications a step.
    """

    def __init__(self, network: MetaNet, crowd: Crowd) -> None:
        self.crowd, self.new = crowd, network.new_item
        self.start: Weights = {"vector": torch.zeros_like(crowd.vectors[0]), "bias": torch.zeros_like(crowd.others[0])}
        # Steps are measured by the length of users' vectors, so that the size to begin with suits any.
        length = crowd.vectors.square().sum(1).mean().clamp(min=1e-6)
        rates = self.new["log_rate"].exp()
        self.rates: Weights = {"vector": rates[0] / length, "bias": rates[1]}

    def odds(self, weights: Weights, task: ItemTask) -> Tensor:
        return self.crowd.vectors @ (task.vector + weights["vector"]) + task.bias + weights["bias"] - self.crowd.others

    def public(self, odds: Tensor) -> Tensor:
        return (self.crowd.active * odds.sigmoid()).sum(-1).clamp(min=1e-6)

    def support(self, weights: Weights, task: ItemTask) -> Tensor:
        n, odds = task.shown.sum(), self.odds(weights, task)
        expected = self.public(self.odds(self.start, task)).detach()
        loss = (self.crowd.active * F.softplus(odds)).sum() / expected - (odds * task.shown).sum() / n.clamp(min=1)
        return loss * n / (n + self.new["log_trust"].exp())

    def query(self, weights: Weights, task: ItemTask) -> Tensor:
        odds = self.odds(weights, task)
        everybody = (self.crowd.active * F.softplus(odds)).sum() / task.public
        return everybody - (odds * task.wanted).sum() / task.wanted.sum().clamp(min=1)

    def placed(self, tasks: ItemTask, steps: int) -> tuple[Tensor, Tensor]:
        """(vectors (T, d), biases (T,)) after so many steps. No graph is kept."""

        def one(task: ItemTask) -> tuple[Tensor, Tensor]:
            moved = adapt(lambda weights: self.support(weights, task), self.start, steps=steps, rates=self.rates)
            return task.vector + moved["vector"], task.bias + moved["bias"]

        return torch.vmap(one)(tasks)


@dataclass
class _Pass:
    """What is drawn once a pass: the users, what they have not met, and who of them chose it."""

    number: int
    crowd: Crowd
    items: Tensor  # int64 (H,) codes, each with two users or more
    chosen: Tensor  # bool (H, M)


class ItemLessons:
    """The lesson of some items, at every step.

    Once a pass users are drawn, and a share of the items they are taken not to have met: their vectors are adapted to some of the rest of
    what they chose, once, without a graph (what users are is learnt by lessons of users). An item is told by its columns alone, so the
    lesson trains how columns are read, what a new item is otherwise, the sizes of its steps and the trust in its first users.
    met(items, n): the codes compared with, and what each stands for (`Objective`). Cost: once a pass M adaptations; a step T · M · d.
    """

    def __init__(self, network: MetaNet, known: np.ndarray, pairs: Pairs, params: Any, length: int, met: Callable[..., Any]) -> None:
        """known: bool (I,), items that were learnt from; length: steps a pass."""
        self.network, self.pairs, self.params, self.length, self.met = network, pairs, params, length, met
        self.device = pairs.items.device
        self.known = torch.as_tensor(known, device=self.device)
        self.pass_: _Pass | None = None

    def __call__(self, step: int) -> Tensor:
        number = step // self.length
        if self.pass_ is None or self.pass_.number != number:
            self.pass_ = self._draw(number)
        now = self.pass_
        if not len(now.items):
            return torch.zeros((), device=self.device)
        drawn = torch.randperm(len(now.items), device=self.device)[:ITEMS]
        chosen = now.chosen[drawn]
        public = chosen.sum(1)
        n = ((self.params.shots + 1.0) ** torch.rand(len(drawn), device=self.device)).long() - 1  # as many as users show items
        lot = torch.rand(chosen.shape, device=self.device).masked_fill(~chosen, 2.0)
        place = lot.argsort(1).argsort(1)
        shown = chosen & (place < torch.minimum(n, public - 1)[:, None])
        codes = now.items[drawn]
        vectors, _, biases = self.network.items(codes, torch.zeros_like(codes, dtype=torch.bool))
        tasks = ItemTask(vectors, biases, shown, chosen & ~shown, public.float())
        losses = ItemLosses(self.network, now.crowd)
        steps = self.params.inner_steps
        query, support = post_adaptation(
            losses.support, losses.query, losses.start, tasks, steps=steps, rates=losses.rates, second_order=True
        )
        return query.mean()

    def _draw(self, number: int) -> _Pass:
        pairs, device = self.pairs, self.device
        users = pairs.active[torch.randperm(len(pairs.active), device=device)[:SAMPLE]]
        rows = pairs.rows.take(users)
        item, row = pairs.items[rows.columns], rows.rows
        hidden = self.known & (torch.rand(len(self.known), device=device) < HIDDEN)
        away = hidden[item]
        lot = torch.where(away, 2.0, torch.rand(len(item), device=device, dtype=torch.float64))
        order = torch.argsort(row + lot / 3)
        place = torch.arange(len(item), device=device) - rows.offsets[row]
        read = order[(place < 2 * self.params.shots) & ~away[order]]
        values = pairs.values[rows.columns]
        histories = Histories.from_rows(len(users), *(part[read].cpu().numpy() for part in (row, item, values)))
        codes, more = self.met(item, len(users))
        learning = self.network.training
        self.network.eval()
        with torch.no_grad():
            world = World(*self.network.items(codes), more.masked_fill(hidden[codes], FAR))
            crowd = of_users(self.network, world, histories, users, self.params, codes)
        self.network.train(learning)
        left = rows.lengths - torch.as_tensor(histories.lengths, device=device)
        at = torch.cumsum(hidden, 0) - 1
        chosen = torch.zeros(int(hidden.sum()), len(users), dtype=torch.bool, device=device)
        chosen[at[item[away]], row[away]] = True
        enough = chosen.sum(1) > 1
        return _Pass(number, crowd._replace(active=left.float()), torch.nonzero(hidden)[:, 0][enough], chosen[enough])


def of_users(network: MetaNet, world: World, histories: Histories, users: Tensor, params: Any, codes: Tensor | None = None) -> Crowd:
    """Users adapted to these histories (no item twice), as the public of items. codes (N,) ascending: the items of the world, all if None.

    users: codes whose row of the user table is read (-1: none). What somebody has read is none of what they may choose."""
    losses, device = TaskLosses(network, world, params), world.biases.device
    longest = max(1, int(histories.lengths.max(initial=1)))
    vectors, others = [world.vectors[:0]], [world.biases[:0]]
    with torch.no_grad():
        blocks = torch.arange(len(histories)).split(max(1, CELLS // (longest * len(world.biases)))) if len(histories) else ()
        for rows in blocks:
            task = of_histories(histories.take(rows.numpy()), network.users(users[rows.to(device)]), 0.0, 1.0, False)
            if codes is not None:
                task = task._replace(shown=torch.searchsorted(codes, task.shown).clamp(max=len(codes) - 1))
            vectors.append(losses.vectors(task, params.inner_steps)[:, -1])
            scores = losses.scores(vectors[-1]) + world.more
            seen = torch.zeros_like(scores).scatter_add(1, task.shown, FAR * task.there.float())
            others.append(torch.logsumexp(scores + seen, 1))
    active = torch.as_tensor(histories.lengths, device=device).float()
    return Crowd(torch.cat(vectors), torch.cat(others), active)


def placed(network: MetaNet, start: tuple[Tensor, Tensor], public: Crowd, first: Crowd, of: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(vectors (n, d), biases (n,)) of items adapted to their first users. start: as told by their columns; public: users of the training
    set; first: the m first users of all items, of (m,): the item of each."""
    crowd = Crowd(*(torch.cat(pair) for pair in zip(public, first._replace(active=torch.zeros_like(first.active)), strict=True)))
    losses, out = ItemLosses(network, crowd), []
    with torch.no_grad():
        for rows in torch.arange(len(start[1]), device=of.device).split(max(1, CELLS // max(1, len(crowd.others)))):
            shown = torch.cat(
                [torch.zeros(len(rows), len(public.others), dtype=torch.bool, device=of.device), of[None] == rows[:, None]], 1
            )
            tasks = ItemTask(start[0][rows], start[1][rows], shown, torch.zeros_like(shown), torch.ones_like(start[1][rows]))
            out.append(losses.placed(tasks, steps))
    return (torch.cat([v for v, _ in out]), torch.cat([b for _, b in out])) if out else start
