"""Reasons of M6-Rec: what a score loses without a history item or a feature, and how much each field counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.histories import Histories
from .._base import Explanation
from ._m6_values import value_of

if TYPE_CHECKING:
    from .m6_rec import M6Rec

LOW, HIGH = 0.05, 0.95  # quantiles shown beside the mean share
MOST_USERS = 2000  # users whose shares are averaged
ITSELF = {"item": "The item itself", "user": "The user itself"}


def explain(model: M6Rec, item: int, history: Histories, user: int | None, k: int) -> Explanation:
    """Occlusion: the score as it is, less the score without one history item, one field of the item or one field of the user."""
    recent = np.unique(history.last(model.left_out_at_most).items)
    user_fields = _user_fields(model, history, user)
    versions, without = _versions(history, recent, user_fields)
    users = None if user is None else np.full(len(versions), user)
    vectors, offsets, _ = model._users(versions, users, without)
    own, biases = _item_versions(model, item)
    scale = model._spread if model.resolved.loss == "mse" else 1.0
    scores = (vectors @ own[0] + biases[0] + offsets).cpu().numpy().astype(np.float64) * scale
    of_item = (own[1:] @ vectors[0] + biases[1:] + offsets[0]).cpu().numpy().astype(np.float64) * scale
    item_fields = model.inputs.items.fields
    fall = np.concatenate([scores[0] - scores[1:], scores[0] - of_item])
    refs = [int(code) for code in recent]
    refs += [value_of(model.inputs, "user", f, user, versions) for f in user_fields]
    refs += [value_of(model.inputs, "item", f, item, versions) for f in range(len(item_fields))]
    sorts = ["history"] * len(recent) + ["user feature"] * len(user_fields) + ["item feature"] * len(item_fields)
    some = np.flatnonzero(fall != 0)  # a field that is not read changes nothing and is no reason
    best = some[np.argsort(-fall[some], kind="stable")][:k] if len(some) else np.arange(min(k, len(fall)))
    base = model._mean if model.resolved.loss == "mse" else 0.0
    return Explanation(
        kind="mixed",
        refs=tuple(refs[n] for n in best),
        contributions=tuple(float(fall[n]) for n in best),
        total=float(scores[0]) + base,
        exact=False,
        method="Occlusion: how much the item's score falls when one history item or one feature is left out; of the history the "
        f"{len(recent)} most recent items were tried. Features act together, so the parts do not add up to the score.",
        sorts=tuple(sorts[n] for n in best),
    )


def _user_fields(model: M6Rec, history: Histories, user: int | None) -> list[int]:
    """Numbers of the user fields that are there: those of the table only for a known user."""
    n_table = len(model.inputs.user_table.kinds)
    return [f for f in range(len(model.inputs.user_fields)) if f >= n_table or (user is not None and user >= 0)]


def _versions(history: Histories, recent: np.ndarray, fields: list[int]) -> tuple[Histories, Any]:
    """The history whole, without each of the recent items, and whole once more for every field; the field left out in each."""
    n = len(history.items)
    which, kept = np.nonzero(recent[:, None] != history.items[None, :])
    whole = np.tile(np.arange(n), 1 + len(fields))
    first = np.repeat(np.concatenate([[0], 1 + len(recent) + np.arange(len(fields))]), n).astype(np.int64)
    rows, entries = np.concatenate([first, which + 1]), np.concatenate([whole, kept])
    times = None if history.times is None else history.times[entries]
    count = 1 + len(recent) + len(fields)
    without = np.full(count, -1, np.int64)
    without[1 + len(recent) :] = fields
    return Histories.from_rows(count, rows, history.items[entries], history.values[entries], times), without


def _item_versions(model: M6Rec, item: int) -> tuple[Any, Any]:
    """(F + 1, d) vectors and (F + 1,) biases: the item, and the item without each of its fields."""
    import torch

    code, first = torch.tensor([item], device=model.network.known.device), int(model.resolved.ids)
    with torch.inference_mode():
        made = [model.network.items(code)]
        made += [model.network.items(code, without=first + f) for f in range(len(model.inputs.items.fields))]
        return torch.cat([one.vectors for one in made]), torch.cat([one.biases for one in made])


def field_shares(model: M6Rec) -> dict[str, list[dict[str, Any]]]:
    """side -> fields with mean share, and the range in which nine of ten items or users lie; the means add up to 1."""
    active = np.flatnonzero(model.fitted.user_counts)
    some = active[np.linspace(0, len(active) - 1, min(len(active), MOST_USERS)).astype(np.int64)]
    of_users = model._users(model.fitted.histories(some), some)[2]
    sides = {
        "item": (model._items.shares, model.inputs.items.fields, model.resolved.ids),
        "user": (of_users, model.inputs.user_fields, model.resolved.user_ids),
    }
    out = {}
    for side, (shares, fields, has_id) in sides.items():
        named = [("id", ITSELF[side])] * has_id + [(name, name) for name, _ in fields]
        values = shares.cpu().numpy().astype(np.float64) if shares is not None else np.empty((0, 0))
        values = values[values.sum(1) > 0.5] if values.size else values  # rows of which nothing is known have no shares
        if not len(values):
            out[side] = []
            continue
        low, high = np.quantile(values, [LOW, HIGH], axis=0)
        columns = zip(named, values.mean(0), low, high, strict=True)
        out[side] = [
            {"field": name, "label": label, "weight": float(w), "low": float(a), "high": float(b)} for (name, label), w, a, b in columns
        ]
    return out
