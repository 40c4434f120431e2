"""Data sets with feature tables whose signal is known: which fields matter, how deeply they interact, and new items to be served."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..data.ids import IdMap

INSIDE = 0.9  # share of a user's choices that follow the planted rule


@dataclass(frozen=True)
class FeatureCase:
    """train: with tables, without any interaction of `new_items` (codes). warm: a held-out fifth of the other items' interactions.
    new: every interaction with new items, which alone are candidates there. informative, noise: side -> names of fields."""

    train: Dataset
    warm: Holdout
    new: Holdout
    new_items: np.ndarray
    informative: dict[str, tuple[str, ...]]
    noise: dict[str, tuple[str, ...]]


def planted_fields(n_users: int = 300, n_items: int = 240, n_noise: int = 3, *, seed: int = 0) -> FeatureCase:
    """Each of four tastes likes one genre (a category) of one era (a number): both item fields matter, and a user's group says the taste.

    Noise of the same make beside them: categories with as many values, numbers of the same spread, on both sides.
    """
    rng = np.random.default_rng(seed)
    genre, era = rng.integers(0, 4, n_items), rng.uniform(1960, 2020, n_items)
    old = (era < 1990).astype(int)
    taste = rng.integers(0, 4, n_users)
    liked = (genre[None, :] % 4 == taste[:, None]) & (old[None, :] == (taste % 2)[:, None])
    items = {"genre": _named("genre", genre), "era": era.round(1)}
    items |= {f"shelf {n + 1}": _named("shelf", rng.integers(0, 4, n_items)) for n in range(n_noise)}
    items |= {f"weight {n + 1}": rng.uniform(100, 900, n_items).round(1) for n in range(n_noise)}
    users = {"group": _named("group", taste)}
    users |= {f"till {n + 1}": _named("till", rng.integers(0, 4, n_users)) for n in range(n_noise)}
    noise = {"item": tuple(name for name in items if name not in ("genre", "era")), "user": tuple(users)[1:]}
    case = _case(rng, liked, pd.DataFrame(users), pd.DataFrame(items))
    return replace(case, informative={"item": ("genre", "era"), "user": ("group",)}, noise=noise)


def planted_depth(depth: int, n_users: int = 300, n_items: int = 400, n_values: int = 4, *, seed: int = 0) -> FeatureCase:
    """An item belongs to the taste (a_1 + … + a_depth) mod n_values of its fields, so that no subset of them tells anything alone:
    a model must let `depth` fields interact to place a new item. depth 1: a plain category."""
    rng = np.random.default_rng(seed)
    parts = rng.integers(0, n_values, (depth, n_items))
    taste = rng.integers(0, n_values, n_users)
    liked = (parts.sum(0) % n_values)[None, :] == taste[:, None]
    items = pd.DataFrame({f"part {n + 1}": _named("value", values) for n, values in enumerate(parts)})
    case = _case(rng, liked, None, items)
    return replace(case, informative={"item": tuple(items.columns)}, noise={})


def _named(name: str, values: np.ndarray) -> pd.Series:
    return pd.Series(values).map(lambda value: f"{name} {value}").astype("str")


def _case(rng: np.random.Generator, liked: np.ndarray, users: pd.DataFrame | None, items: pd.DataFrame, length: int = 20) -> FeatureCase:
    """Every user chooses `length` items, INSIDE of them among those liked, the rest anywhere; a fifth of the items is new."""
    n_users, n_items = liked.shape
    weight = np.where(liked, INSIDE / np.maximum(liked.sum(1, keepdims=True), 1), 0) + (1 - INSIDE) / n_items
    chosen = np.argsort(-(np.log(weight) + rng.gumbel(size=weight.shape)), axis=1)[:, :length]
    user, item = np.repeat(np.arange(n_users), length), chosen.ravel()
    order = rng.permutation(len(user))
    user, item = user[order], item[order]
    new_items = np.sort(rng.choice(n_items, n_items // 5, replace=False))
    whole = Dataset(
        IdMap([f"u{n}" for n in range(n_users)]),
        IdMap([f"i{n}" for n in range(n_items)]),
        user,
        item,
        np.ones(len(user)),
        np.arange(len(user)) * 60,
        user_table=users,
        item_table=items,
    )
    is_new, held = np.isin(item, new_items), rng.random(len(user)) < 0.2
    return FeatureCase(
        whole.subset(~is_new & ~held),
        Holdout(whole.subset(~is_new & held)),
        Holdout(whole.subset(is_new), candidates=new_items.astype(np.int32)),
        new_items,
        {},
        {},
    )
