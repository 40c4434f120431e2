"""Tiny data sets whose right answer is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..data.dataset import Dataset, Feedback
from ..data.holdout import Holdout
from ..data.ids import IdMap

DAY = 86_400


@dataclass(frozen=True)
class Case:
    """What a model learns from and what was held out."""

    train: Dataset
    held_out: Holdout


def checkerboard(n_users: int = 60, n_items: int = 20, *, ratings: bool = False, seed: int = 0) -> Case:
    """Even users like even items, odd users odd ones; the diagonal (user u, item u mod n_items) is held out.

    All items are equally popular, so only who learnt the pattern ranks the held-out item first: among the
    unseen items it alone has the right colour. ratings: likes are 4 or 5, and every user gave 1 or 2 to
    half of the items of the other colour. Each user's times are in random order: in the order of the codes, the item held
    out would never be the next one.
    """
    rng = np.random.default_rng(seed)
    user, item = np.divmod(np.arange(n_users * n_items), n_items)
    same = (user + item) % 2 == 0
    diagonal = item == user % n_items
    disliked = ~same & ((user + item) % 4 == 1) if ratings else np.zeros(len(user), bool)
    value = np.where(same, rng.integers(4, 6, len(user)), rng.integers(1, 3, len(user))) if ratings else np.ones(len(user))
    order = rng.permutation(len(user))
    train, held = order[((same & ~diagonal) | disliked)[order]], order[(same & diagonal)[order]]
    time = np.random.default_rng([seed, 1]).permutation(len(user)) * 60
    return _case(user, item, value, time, train, held, n_users, n_items, ratings)


def tastes(n_users: int = 150, n_items: int = 100, n_tastes: int = 5, *, ratings: bool = False, seed: int = 0) -> Case:
    """Users with one of a few tastes choose mostly items of it, popular ones more often; a fifth is held out.

    The last three users have no interactions, the last two items nobody chose. Values are counts; or
    ratings, 4 or 5 inside the taste and 1 to 3 outside, of users who try more outside it. Times ascend with the row.
    """
    rng = np.random.default_rng(seed)
    user_taste, item_taste = rng.integers(0, n_tastes, n_users), np.arange(n_items) % n_tastes
    popularity = -0.8 * np.log(1 + np.arange(n_items) // n_tastes)
    affinity = np.where(user_taste[:, None] == item_taste[None, :], 1.5 if ratings else 3.0, 0.0) + popularity
    drawn = np.argsort(-(affinity + rng.gumbel(size=affinity.shape)), axis=1)
    chosen = np.arange(n_items)[None, :] < rng.integers(*((20, 40) if ratings else (10, 25)), n_users)[:, None]
    user, rank = np.nonzero(chosen)
    item = drawn[user, rank]
    inside = user_taste[user] == item_taste[item]
    value = np.where(inside, rng.integers(4, 6, len(user)), rng.integers(1, 4, len(user))) if ratings else rng.geometric(0.4, len(user))
    order = rng.permutation(len(user))
    user, item, value = user[order], item[order], value[order]
    lot = np.argsort(np.lexsort((rng.random(len(user)), user)))
    start = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))])
    held = (lot - start[user]) < 0.2 * np.bincount(user, minlength=n_users)[user]
    train, held_out = np.flatnonzero(~held), np.flatnonzero(held)
    return _case(user, item, value, np.arange(len(user)) * DAY // 20, train, held_out, n_users + 3, n_items + 2, ratings)


def described(case: Case, n_groups: int) -> Case:
    """The same with an item table: "group", which says the pattern (item code mod n_groups), and "shelf", which says nothing."""
    code = np.arange(case.train.n_items)
    group = pd.Series(code % n_groups).map(lambda n: f"group {n}").astype("str")
    shelf = pd.Series(code // n_groups % 4).map(lambda n: f"shelf {n}").astype("str")
    table = pd.DataFrame({"group": group, "shelf": shelf})
    held_out = replace(case.held_out, truth=replace(case.held_out.truth, item_table=table))
    return Case(replace(case.train, item_table=table), held_out)


def _case(
    user: np.ndarray,
    item: np.ndarray,
    value: np.ndarray,
    time: np.ndarray,
    train: np.ndarray,
    held: np.ndarray,
    n_users: int,
    n_items: int,
    ratings: bool,
) -> Case:
    feedback: Feedback = "explicit" if ratings else "implicit"
    users, items = IdMap([f"u{n}" for n in range(n_users)]), IdMap([f"i{n}" for n in range(n_items)])

    def part(rows: np.ndarray) -> Dataset:
        return Dataset(users, items, user[rows], item[rows], value[rows], time[rows], feedback, 4.0 if ratings else None)

    return Case(part(train), Holdout(part(held)))
