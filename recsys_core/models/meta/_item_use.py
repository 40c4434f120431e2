"""A trained model places items: by their columns and their first few users."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...data.histories import Histories
from ...errors import BadInput, Unsupported
from .._pairs import distinct
from ._item_tasks import SAMPLE, Crowd, of_users, placed


def adapted_items(
    model: Any, items: np.ndarray | pd.DataFrame, first: Histories, of: np.ndarray, users: np.ndarray | None, steps: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """See `MetaRecommender.adapted_items`. Cost: an adaptation for each first user, once one for SAMPLE users of the training set; then
    items × users × d × steps."""
    steps = model.resolved.inner_steps if steps is None else steps
    if steps and model.resolved.tasks != "users and items":
        raise Unsupported(
            f"This {model.label} has learnt from users only, and cannot place items by theirs.", "Train it with tasks: users and items."
        )
    of = np.asarray(of, np.int64)
    if len(of) != len(first) or (len(of) and not 0 <= of.min() <= of.max() < len(items)):
        raise BadInput(
            f"Every first user belongs to one of {len(items)} items; there are {len(first)} histories and {len(of)} items named."
        )
    network, device = model.network, model._world.biases.device
    with torch.no_grad():
        start = _told(model, items)
        if not steps:
            return start[0].cpu().numpy(), start[1].cpu().numpy()
        if isinstance(items, np.ndarray):  # nobody is known by having chosen the very item
            first = _without(first, items[of])
        if model._public is None:
            model._public = _public(model)
        codes = torch.full((len(first),), -1) if users is None else torch.as_tensor(np.asarray(users, np.int64))
        crowd = of_users(network, model._world, _read(model, first), codes.to(device), model.resolved)
        vectors, biases = placed(network, start, model._public, crowd, torch.as_tensor(of, device=device), steps)
    return vectors.cpu().numpy(), biases.cpu().numpy()


def _told(model: Any, items: np.ndarray | pd.DataFrame) -> tuple[Tensor, Tensor]:
    """(vectors, biases) by columns alone."""
    if isinstance(items, pd.DataFrame):
        vectors, _, biases = model._told(items)
        return vectors, biases
    codes = torch.as_tensor(np.asarray(items, np.int64), device=model._world.biases.device)
    vectors, _, biases = model.network.items(codes, torch.zeros_like(codes, dtype=torch.bool))
    return vectors, biases


def _public(model: Any) -> Crowd:
    """Users of the training set, the same ones every time."""
    active = np.flatnonzero(model.fitted.user_counts)
    if len(active) > SAMPLE:
        active = np.sort(np.random.default_rng(0).choice(active, SAMPLE, replace=False))
    users = torch.as_tensor(active, device=model._world.biases.device)
    return of_users(model.network, model._world, _read(model, model.fitted.histories(active)), users, model.resolved)


def _read(model: Any, histories: Histories) -> Histories:
    relevant = histories.relevant(model.fitted.threshold)
    return distinct(relevant, model.fitted.n_items).last(model.resolved.history)


def _without(histories: Histories, item: np.ndarray) -> Histories:
    """Row b without item[b]."""
    row = histories.row
    keep = histories.items != item[row]
    times = None if histories.times is None else histories.times[keep]
    return Histories.from_rows(len(histories), row[keep], histories.items[keep], histories.values[keep], times)
