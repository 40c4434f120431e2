"""How much of its accuracy a recommender keeps when what it learns from gets worse: noise, attack, loss.

Only training data change; the test stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from ..data.dataset import Dataset
from ..data.holdout import Holdout
from ..data.ids import IdMap
from ..data.topk import TopK
from ..errors import BadInput
from ..metrics import Catalog, evaluate
from ..metrics._bootstrap import mean_intervals

Damage = Literal["noise", "attack", "loss"]
DAMAGES: dict[str, tuple[str, str]] = {  # key -> (label, what happens)
    "noise": ("Random interactions added", "Users get interactions with items drawn at random."),
    "attack": ("Fake users added", "Fake users like popular items, and all of them a few items they push (a bandwagon attack)."),
    "loss": ("Interactions lost", "Interactions are taken away at random; every user keeps at least one."),
}
SHARES = (0.05, 0.1, 0.2)
N_PUSHED = 5  # items that fake users push
POPULAR_SHARE = 0.4  # of a fake profile are items from the popular head


@dataclass(frozen=True)
class Damaged:
    """train: the worse training set, whose id maps begin with those of the original. pushed: item codes (attack only).
    n_added, n_removed: interactions; n_fake: users."""

    train: Dataset
    pushed: np.ndarray
    n_added: int = 0
    n_removed: int = 0
    n_fake: int = 0


def damage(
    train: Dataset,
    kind: Damage,
    share: float,
    rng: np.random.Generator,
    *,
    keep_out: sparse.csr_matrix | None = None,
    only_known: bool = False,
) -> Damaged:
    """The training set with `share` of its interactions added or taken away.

    keep_out: csr (U, I) of pairs that are not added, the held-out ones: an added one would leave the test. only_known: items
    without an interaction, kept out of training to be judged on, stay without (fewer are added then). Attack: Burke, Mobasher &
    Bhaumik, "Limited knowledge shilling attacks in collaborative filtering systems", ITWP 2005 (bandwagon). Cost: a few sorts of n.
    """
    if kind not in DAMAGES:
        raise BadInput(f"Kinds of damage are {', '.join(DAMAGES)}; got '{kind}'.")
    if not 0 < share <= 0.9:
        raise BadInput(f"The share of interactions must be above 0 and at most .9; got {share:g}.")
    found = {"noise": _noise, "attack": _attack, "loss": _loss}[kind](train, share, rng, keep_out)
    if not only_known or kind == "loss":
        return found
    known = np.bincount(train.item, minlength=train.n_items) > 0
    kept = known[found.train.item]
    return replace(
        found, train=found.train.subset(kept), pushed=found.pushed[known[found.pushed]], n_added=found.n_added - int((~kept).sum())
    )


def _noise(train: Dataset, share: float, rng: np.random.Generator, keep_out: sparse.csr_matrix | None) -> Damaged:
    n = max(1, round(share * len(train)))
    taken = _pairs(train.matrix("seen"), train.n_items)
    if keep_out is not None:
        taken = np.concatenate([taken, _pairs(keep_out, train.n_items)])
    active = np.unique(train.user)  # nobody else gets any
    room = len(active) * train.n_items - len(np.unique(taken[np.isin(taken // train.n_items, active)]))
    found = np.empty(0, dtype=np.int64)
    while len(found) < min(n, room // 2):  # active users get more, as they would; what is there already is drawn again
        drawn = train.user[rng.integers(0, len(train), 2 * n)].astype(np.int64) * train.n_items + rng.integers(0, train.n_items, 2 * n)
        drawn = drawn[~np.isin(drawn, taken)]
        found = np.concatenate([found, drawn])[np.sort(np.unique(np.concatenate([found, drawn]), return_index=True)[1])]
    found = found[:n]
    return Damaged(_with(train, found // train.n_items, found % train.n_items, rng.choice(train.value, len(found)), rng), _NONE, len(found))


def _attack(train: Dataset, share: float, rng: np.random.Generator, keep_out: sparse.csr_matrix | None) -> Damaged:
    lengths = train.user_counts[train.user_counts > 0]
    length = int(np.clip(np.median(lengths), N_PUSHED + 2, max(N_PUSHED + 2, train.n_items // 2)))
    n_fake = max(1, round(share * len(train) / length))
    order = np.argsort(-train.item_counts, kind="stable")
    half = order[len(order) // 2 :]
    pushed = np.sort(rng.choice(half, min(N_PUSHED, len(half)), replace=False))
    n_popular = round(POPULAR_SHARE * (length - len(pushed)))
    head = order[: max(n_popular, len(order) // 10, 1)]
    chance = train.item_counts[head] + 1.0
    popular = rng.choice(head, (n_fake, n_popular), p=chance / chance.sum())
    filler = rng.integers(0, train.n_items, (n_fake, max(0, length - len(pushed) - n_popular)))
    items = np.concatenate([np.tile(pushed, (n_fake, 1)), popular, filler], axis=1)
    users = np.repeat(np.arange(n_fake), items.shape[1]) + train.n_users
    pairs = np.unique(users.astype(np.int64) * train.n_items + items.ravel())
    names = [f"fake user {number + 1}" for number in range(n_fake)]
    ids = pd.Series([*train.users.ids, *names])
    table = None if train.user_table is None else train.user_table.reindex(range(train.n_users + n_fake))
    wider = replace(train, users=IdMap(ids), user_table=table)
    value = np.full(len(pairs), train.value.max(), dtype=np.float32)
    return Damaged(_with(wider, pairs // train.n_items, pairs % train.n_items, value, rng), pushed, len(pairs), 0, n_fake)


def _loss(train: Dataset, share: float, rng: np.random.Generator, keep_out: sparse.csr_matrix | None) -> Damaged:
    draw = rng.random(len(train))
    first = np.lexsort((draw, train.user))  # of every user one stays: the first by lot
    spared = np.zeros(len(train), dtype=bool)
    spared[first[np.r_[True, np.diff(train.user[first]) != 0]]] = True
    gone = np.argsort(np.where(spared, 2.0, draw), kind="stable")[: min(round(share * len(train)), int((~spared).sum()))]
    keep = np.ones(len(train), dtype=bool)
    keep[gone] = False
    return Damaged(train.subset(keep), _NONE, 0, len(gone))


_NONE = np.empty(0, dtype=np.int64)


def _pairs(matrix: sparse.csr_matrix, n_items: int) -> np.ndarray:
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr)) * n_items + matrix.indices


def _with(train: Dataset, user: np.ndarray, item: np.ndarray, value: np.ndarray, rng: np.random.Generator) -> Dataset:
    """Added interactions come at times drawn from those there are."""
    return replace(
        train,
        user=np.concatenate([train.user, user.astype(np.int32)]),
        item=np.concatenate([train.item, item.astype(np.int32)]),
        value=np.concatenate([train.value, value.astype(np.float32)]),
        time=None if train.time is None else np.concatenate([train.time, rng.choice(train.time, len(user))]),
    )


def measure(
    top: TopK, before: TopK, holdout: Holdout, train: Dataset, pushed: np.ndarray, k: int, metrics: list[str], per_user: pd.DataFrame
) -> dict[str, Any]:
    """What is left: {"metrics": {name: {"mean", "change", "low", "high", "kept"}}, "pushed": {"before", "after"} | None}.

    top, before: lists of the same test users after and before the damage; per_user: figures before. change: after − before over the
    same users with its paired 95 % bootstrap interval; kept: mean after / mean before. pushed: share of users with a pushed item in
    their first k.
    """
    names = [f"{key}@{k}" for key in metrics]
    after = evaluate(top, holdout, Catalog.from_dataset(train), [k], metrics=metrics).per_user
    both = after.index.intersection(per_user.index)
    gaps = after.loc[both, names] - per_user.loc[both, names]
    low, high = mean_intervals(gaps.to_numpy(np.float64))
    found = {}
    for i, name in enumerate(names):
        mean, was = float(after.loc[both, name].mean()), float(per_user.loc[both, name].mean())
        found[name] = {
            "mean": mean, "change": float(gaps[name].mean()), "low": float(low[i]), "high": float(high[i]),
            "kept": mean / was if was else None,
        }  # fmt: skip
    reached = [float(np.isin(lists.items[:, :k], pushed).any(axis=1).mean()) for lists in (before, top)] if len(pushed) else None
    return {"metrics": found, "pushed": {"before": reached[0], "after": reached[1]} if reached else None}
