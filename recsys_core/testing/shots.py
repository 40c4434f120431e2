"""New users whose taste is two numbers: a few items of somebody say nearly all there is to know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..data.ids import IdMap

SHARPNESS = 4.0  # of the choices


@dataclass(frozen=True)
class ShotsCase:
    """train: most users. new: the others, each with half of their items given. tastes (U, 2), places (I, 2): what was planted."""

    train: Dataset
    new: Holdout
    tastes: np.ndarray
    places: np.ndarray


def planted_directions(n_users: int = 360, n_items: int = 120, n_new: int = 80, length: int = 16, *, seed: int = 0) -> ShotsCase:
    """A user is a direction in the plane and an item a place in it, which its two columns tell; items are chosen by
    exp(SHARPNESS · direction · place + popularity), the popularity being of deviation 1/2 and in no column."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n_users)
    tastes, places = np.stack([np.cos(angle), np.sin(angle)], 1), rng.normal(size=(n_items, 2)) / np.sqrt(2)
    liking = SHARPNESS * tastes @ places.T + 0.5 * rng.normal(size=n_items)
    chosen = np.argsort(-(liking + rng.gumbel(size=liking.shape)), axis=1)[:, :length]
    user, item = np.repeat(np.arange(n_users), length), chosen.ravel()
    given = rng.permuted(np.tile(np.arange(length) < length // 2, (n_users, 1)), axis=1).ravel()
    ids = IdMap([f"u{n}" for n in range(n_users)]), IdMap([f"i{n}" for n in range(n_items)])
    table = pd.DataFrame({"east": places[:, 0].round(3), "north": places[:, 1].round(3)})
    whole = Dataset(*ids, user, item, np.ones(len(user)), np.arange(len(user)) * 60, item_table=table)
    is_new = user >= n_users - n_new
    return ShotsCase(whole.subset(~is_new), Holdout(whole.subset(is_new & ~given), whole.subset(is_new & given)), tastes, places)
