"""What pair networks learn from: choices against drawn items (softmax, BCE, BPR), or ratings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.dataset import Dataset
from ._sampling import build_sampler

if TYPE_CHECKING:
    from torch import Tensor

    from ...nn.batches import IndexBatches, Ragged
    from ...nn.interaction import PairNet
    from ...nn.samplers import Drawn

Objective = tuple["IndexBatches", Callable[["Tensor", int], "Tensor"]]


def choice_loss(
    net: PairNet, vectors: Tensor, chosen: Ragged, drawn: Drawn, items: Callable[[Tensor], tuple[Tensor, Tensor]], weights: Tensor
) -> Tensor:
    """Softmax of every choice against the drawn items, weighted and summed; also used to find the vectors of new users.

    Shapes: vectors (B, d), chosen of B rows with n entries, weights (n,) -> scalar.
    """
    import torch.nn.functional as F

    from ...nn.losses import sampled_logsumexp, softmax_against

    # embedding and index_select, not vectors[rows]: the gradient of that adds up in a different order each time.
    rows = chosen.rows
    against = sampled_logsumexp(net.block(vectors, *items(drawn.items)), drawn.log_q, drawn.excluded)
    positive = net.pairs(F.embedding(rows, vectors), *items(chosen.columns))
    return softmax_against(positive, against.index_select(0, rows), weights)


def softmax_objective(model: Any, data: Dataset, device: Any) -> Objective:
    """Batches of users: all their choices against items shared by the batch; all items where as many are asked for."""
    import torch

    from ...nn.batches import IndexBatches, SparseRows
    from ...nn.samplers import Drawn, PairTable

    p, net = model.resolved, model.network
    positives = data.matrix("binary")
    rows, table = SparseRows(positives, device), PairTable(positives, device)
    sampler = build_sampler(p, data, device, table)
    counts = data.user_counts[data.user_counts > 0].astype(np.float64)
    say = counts**-p.activity_damping
    say *= 1 / (counts * say).mean()  # so that a row adds 1 on average, and the learning rate means the same for any damping
    say = torch.as_tensor(say.astype(np.float32), device=device)
    active = torch.as_tensor(np.flatnonzero(data.user_counts), device=device)
    unlearnt = model._unlearnt(data, device)
    every = torch.arange(data.n_items, device=device) if p.sampler == "uniform" and p.negatives >= data.n_items else None
    even = torch.full((data.n_items,), -float(np.log(data.n_items)), device=device)

    def loss(index: Tensor, step: int) -> Tensor:
        index = index.to(device)
        users = active[index]
        chosen, vectors = rows.take(users), net.users(users)
        if every is None:
            scores = partial(_block_scores, net, vectors)
            drawn = sampler.shared(users, p.negatives, batch_items=chosen.columns, score=scores)
        else:
            drawn = Drawn(every, even, table.contains(users[:, None], every))
        drawn = _without(drawn, unlearnt)
        weights = (say[index] / len(index)).repeat_interleave(chosen.lengths, output_size=len(chosen.columns))
        return choice_loss(net, vectors, chosen, drawn, net.items, weights)

    return IndexBatches(len(active), p.batch_size), loss


def _block_scores(net: PairNet, vectors: Tensor, items: Tensor) -> Tensor:
    return net.block(vectors, *net.items(items))


def _without(drawn: Drawn, unlearnt: Tensor | None) -> Drawn:
    """The drawn items, those left out that are to be told by their columns alone."""
    if unlearnt is None:
        return drawn
    out = unlearnt[drawn.items]
    return replace(drawn, excluded=out | drawn.excluded if drawn.excluded is not None else out.expand(drawn.items.shape))


def pair_objective(model: Any, data: Dataset, device: Any) -> Objective:
    """Batches of choices, each against items of its own."""
    import torch
    import torch.nn.functional as F

    from ...nn.batches import IndexBatches, SparseRows
    from ...nn.losses import ranking_loss

    p, net = model.resolved, model.network
    every = SparseRows(data.matrix("binary"), device).all()
    user, item = every.rows, every.columns
    sampler, unlearnt = build_sampler(p, data, device), model._unlearnt(data, device)

    def loss(index: Tensor, step: int) -> Tensor:
        index = index.to(device)
        users, vectors = user[index], net.users(user[index])

        def score(items: Tensor) -> Tensor:
            if items.ndim == 1:
                return net.block(vectors, *net.items(items))
            row = torch.arange(len(items), device=device).repeat_interleave(items.shape[1])
            return net.pairs(F.embedding(row, vectors), *net.items(items.flatten())).view(items.shape)

        drawn = _without(sampler.sample(users, p.negatives, batch_items=item[index], score=score), unlearnt)
        scores = score(torch.cat([item[index, None], drawn.items], 1))
        return ranking_loss(p.loss, scores[:, 0], scores[:, 1:], excluded=drawn.excluded)

    return IndexBatches(len(user), p.batch_size), loss


def rating_objective(model: Any, data: Dataset, device: Any) -> Objective:
    """Batches of ratings; the network learns the difference from their mean."""
    import torch

    from ...nn.batches import IndexBatches
    from ...nn.losses import mse

    net = model.network
    user, item = (torch.as_tensor(codes.astype(np.int64), device=device) for codes in (data.user, data.item))
    target = torch.as_tensor(data.value - data.value.mean(), device=device)

    def loss(index: Tensor, step: int) -> Tensor:
        index = index.to(device)
        return mse(net.pairs(net.users(user[index]), *net.items(item[index])), target[index])

    return IndexBatches(len(user), model.resolved.batch_size), loss
