"""New items after their first few users: how well do the others who chose them find them?

Items are kept out of training altogether (splitter `cold_items`). Of each the users are put in an order of chance: the first max(shots)
are set aside, s of them place the item, and all others have to find it: the same ones whatever s. The item joins the catalogue alone:
its place in such a user's list is one more than the number of known items, not in the user's history, that score higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..context import QUIET, RunContext
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..errors import BadInput
from ..metrics._lists import discounts

SHOTS = (0, 1, 2, 3, 5, 10)
METRICS = ("ndcg", "hit_rate", "mean_rank", "told_apart")
FEWEST = 5  # users who must find an item at least; items there must be at least
OTHERS = 5  # users who did not choose the item, beside each who did
BLOCK = 2**24  # scores held at once


@dataclass(frozen=True)
class ItemTasks:
    """items: int32 (n,) codes. pool: int64 (n, max(shots)) users in the order in which they are shown. of, user: int64 (m,): who has to
    find which item. others: int64 (m, OTHERS): users who have not chosen it. left_out: new items with too few users."""

    shots: tuple[int, ...]
    items: np.ndarray
    pool: np.ndarray
    of: np.ndarray
    user: np.ndarray
    others: np.ndarray
    left_out: int


@dataclass(frozen=True)
class ItemFigures:
    """figures: float32 (S, 4, n): METRICS after each number of users shown, the mean over those who have to find the item. NDCG and hit
    rate at k; mean_rank: the place as a share of the places there are, 0 best; told_apart: how often the item stands higher with somebody
    who chose it than with somebody who did not, by share of places (a half by chance). unadapted: float32 (4, n), by columns alone."""

    k: int
    shots: tuple[int, ...]
    items: np.ndarray
    figures: np.ndarray
    unadapted: np.ndarray

    def interval(self, metric: str, s: int, *, gain: bool = False, seed: int = 0) -> tuple[float, float, float]:
        """(mean, low, high) over items, 95 % bootstrap; gain: of the paired difference to the unadapted item."""
        at = METRICS.index(metric)
        values = self.figures[self.shots.index(s), at] - (self.unadapted[at] if gain else 0)
        draws = np.random.default_rng(seed).integers(0, len(values), (2000, len(values)))
        low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
        return float(values.mean()), float(low), float(high)


def make_item_tasks(train: Dataset, holdout: Holdout, shots: Sequence[int] = SHOTS, *, seed: int = 42) -> ItemTasks:
    """Tasks from what was kept out: `split.parts["new_items"]` of `cold_items`. Users are those with a training history.

    Raises BadInput where fewer than FEWEST items have users enough. Cost: one sort of their interactions."""
    shots, pool = tuple(sorted(set(shots))), max(shots)
    rng = RunContext(seed=seed).rng("item shots")
    known = np.flatnonzero(train.user_counts)
    chosen = holdout.truth.matrix("binary")[known].tocsc()
    counts = np.diff(chosen.indptr)
    items = np.flatnonzero((counts >= pool + FEWEST) & (train.item_counts == 0))
    if len(items) < FEWEST:
        raise BadInput(
            f"At least {FEWEST} new items with {pool + FEWEST} users or more are needed; there are {len(items)}.",
            "Show fewer users, or keep more items out of training.",
        )
    own = chosen[:, items]
    of, row = np.repeat(np.arange(len(items)), np.diff(own.indptr)), own.indices
    order = np.lexsort((rng.random(len(row)), of))
    of, user = of[order], known[row[order]]
    place = np.arange(len(of)) - own.indptr[of]
    shown = place < pool
    others = _others(of[~shown], own, known, rng)
    left_out = int((counts > 0).sum()) - len(items)
    return ItemTasks(shots, items.astype(np.int32), user[shown].reshape(len(items), pool), of[~shown], user[~shown], others, left_out)


def _others(of: np.ndarray, own: Any, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64 (m, OTHERS) users drawn from those who have not chosen the item; who has is drawn again a few times, then left (-1)."""
    taken = np.sort(np.repeat(np.arange(own.shape[1]), np.diff(own.indptr)) * own.shape[0] + own.indices)
    drawn = np.full((len(of), OTHERS), -1, np.int64)
    for _ in range(20):
        empty = np.nonzero(drawn < 0)
        lot = rng.integers(0, own.shape[0], len(empty[0]))
        key = of[empty[0]] * own.shape[0] + lot
        clash = taken[np.searchsorted(taken, key).clip(max=len(taken) - 1)] == key
        drawn[empty] = np.where(clash, -1, lot)
    return np.where(drawn < 0, -1, known[drawn])


def measure_items(model: Any, tasks: ItemTasks, k: int = 20, ctx: RunContext = QUIET, *, steps: int | None = None) -> ItemFigures:
    """A model with `adapted_items` over the tasks. steps: of the adaptation of items, None = the model's own number.

    Cost: once the vectors of the users named; (shots + 1) × pairs × known items comparisons."""
    train = model.fitted
    users, at = np.unique(np.concatenate([tasks.user, tasks.others[tasks.others >= 0], tasks.pool.ravel()]), return_inverse=True)
    histories = train.histories(users)
    vectors = model.adapted_vectors(histories, users)[:, -1]
    seeking = at[: len(tasks.user)]
    other = np.full(tasks.others.shape, -1, np.int64)
    other[tasks.others >= 0] = at[len(tasks.user) : len(tasks.user) + int((tasks.others >= 0).sum())]
    ladder = _Ladder(model, vectors, histories)

    def judged(s: int, steps: int | None) -> np.ndarray:
        of = np.repeat(np.arange(len(tasks.items)), s)
        shown = tasks.pool[:, :s].ravel()
        made, biases = model.adapted_items(tasks.items, train.histories(shown), of, shown, steps)
        rank, places = ladder.ranks(seeking, tasks.of, made, biases)
        theirs, there = ladder.ranks(other.ravel(), np.repeat(tasks.of, OTHERS), made, biases)
        mine, theirs = np.repeat(rank / places, OTHERS), theirs / there
        apart = np.where(mine < theirs, 1.0, np.where(mine == theirs, 0.5, 0.0)).reshape(other.shape)
        apart = np.where(other >= 0, apart, np.nan)
        gain = np.where(rank < k, discounts(k)[rank.clip(max=k - 1)], 0.0)
        each = np.stack([gain, rank < k, rank / places, np.nanmean(apart, 1)])
        n = np.bincount(tasks.of, minlength=len(tasks.items))
        return np.stack([np.bincount(tasks.of, values, len(tasks.items)) / n for values in each]).astype(np.float32)

    out = []
    for number, s in enumerate(tasks.shots):
        ctx.report("New items", number / (len(tasks.shots) + 1))
        out.append(judged(s, steps))
    return ItemFigures(k, tasks.shots, tasks.items, np.stack(out), judged(0, 0))


class _Ladder:
    """Scores of the known items for some users, their own left out, among which a new item has a place. Shapes: (B, known)."""

    def __init__(self, model: Any, vectors: np.ndarray, histories: Histories) -> None:
        self.vectors = vectors
        known = np.flatnonzero(model.fitted.item_counts)
        items, biases = model.item_vectors[known], model.item_biases[known]
        column = np.full(model.fitted.n_items, -1, np.int64)
        column[known] = np.arange(len(known))
        self.scores = np.empty((len(vectors), len(known)), np.float32)
        for rows in np.array_split(np.arange(len(vectors)), max(1, self.scores.size // BLOCK)):
            self.scores[rows] = vectors[rows] @ items.T + biases
        seen = column[histories.items]
        self.scores[histories.row[seen >= 0], seen[seen >= 0]] = -np.inf
        self.places = np.isfinite(self.scores).sum(1) + 1

    def ranks(self, user: np.ndarray, of: np.ndarray, items: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(known items that score higher than item of[j] with user[j], places there are). Equal scores count half, rounded down."""
        rank = np.empty(len(user), np.int64)
        for rows in np.array_split(np.arange(len(user)), max(1, len(user) * self.scores.shape[1] // BLOCK)):
            score = (np.einsum("nd,nd->n", self.vectors[user[rows]], items[of[rows]]) + biases[of[rows]]).astype(np.float32)[:, None]
            theirs = self.scores[user[rows]]
            rank[rows] = (theirs > score).sum(1) + (theirs == score).sum(1) // 2
        return rank, self.places[user]
