"""What graph models learn from: a user's choices against all or drawn items (softmax), or choice by choice (BPR and others)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.dataset import Dataset
from ._sampling import build_sampler

if TYPE_CHECKING:
    from torch import Tensor

    from ...nn.batches import IndexBatches, Ragged
    from ...nn.samplers import Drawn

Objective = tuple["IndexBatches", Callable[["Tensor", int], "Tensor"]]


def softmax_objective(model: Any, data: Dataset, device: Any) -> Objective:
    """Batches of users: all their choices against all items, or against drawn ones shared by the batch."""
    import torch

    from ...nn.batches import IndexBatches, SparseRows

    p = model.resolved
    rows = SparseRows(data.matrix("binary"), device)
    active = torch.as_tensor(np.flatnonzero(data.user_counts), device=device)
    say = torch.as_tensor(model._say(data.user_counts[data.user_counts > 0]), device=device)
    sampler = None if model._over_all_items else build_sampler(p, data, device)

    def loss(index: Tensor, step: int) -> Tensor:
        index = index.to(device)
        users = active[index]
        user, item = model._vectors()
        chosen, vectors = rows.take(users), user.index_select(0, users)
        drawn = None
        if sampler is not None:
            score = lambda codes: vectors @ item.index_select(0, codes).T  # noqa: E731
            drawn = sampler.shared(users, p.negatives, batch_items=chosen.columns, score=score)
        return choice_loss(vectors, item, chosen, drawn, say[index]) / len(index)

    return IndexBatches(len(active), p.batch_size), loss


def pair_objective(model: Any, data: Dataset, device: Any) -> Objective:
    """Batches of choices, each against items of its own."""
    import torch
    import torch.nn.functional as F

    from ...nn.batches import IndexBatches, SparseRows
    from ...nn.losses import ranking_loss

    p = model.resolved
    every = SparseRows(data.matrix("binary"), device).all()
    of_user, of_item = every.rows, every.columns
    sampler = build_sampler(p, data, device)

    def loss(index: Tensor, step: int) -> Tensor:
        index = index.to(device)
        users, items = of_user[index], of_item[index]
        user, item = model._vectors()
        vectors = user.index_select(0, users)
        score = lambda codes: torch.einsum("bd,bnd->bn", vectors, F.embedding(codes, item))  # noqa: E731
        drawn = sampler.sample(users, p.negatives, batch_items=items, score=score)
        positive = (vectors * item.index_select(0, items)).sum(1)
        return ranking_loss(p.loss, positive, score(drawn.items), excluded=drawn.excluded, n_items=data.n_items)

    return IndexBatches(len(of_user), p.batch_size), loss


def choice_loss(users: Tensor, item: Tensor, chosen: Ragged, drawn: Drawn | None, say: Tensor) -> Tensor:
    """Softmax of every choice against all items (drawn = None) or the drawn ones: weighted by row and summed.

    Shapes: users (B, d), item (I, d), chosen of B rows, say (B,) -> scalar.
    """
    import torch.nn.functional as F

    from ...nn.losses import multinomial_nll, sampled_logsumexp, softmax_against

    if drawn is None:
        return multinomial_nll((users @ item.T).float(), chosen, say) * len(chosen)
    # embedding and index_select, not users[rows]: the gradient of that adds up in a different order each time.
    rows = chosen.rows
    against = sampled_logsumexp((users @ item.index_select(0, drawn.items).T).float(), drawn.log_q, drawn.excluded)
    positive = (F.embedding(rows, users) * F.embedding(chosen.columns, item)).sum(1)
    return softmax_against(positive, against.index_select(0, rows), say.index_select(0, rows))
