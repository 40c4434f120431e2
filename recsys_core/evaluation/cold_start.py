"""How far a few items go: lists for new users after s of their items were shown, for s = 0, 1, 2, …

Of every user who was kept out of training the relevant items are put in an order, by lot or by time. The first max(shots) of them are
set aside to be shown, and s of these are shown, the first s. All the others must be found: the same ones for every s, among the same
candidates, so that only what the model was told changes. What was set aside is never on a list, shown or not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from scipy import sparse

from ..context import QUIET, RunContext
from ..data.dataset import Dataset
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.topk import top_k
from ..errors import BadInput, Unsupported
from ..metrics._lists import discounts, divide, hit_matrix
from ..models._base import Recommender
from .cold_start_rating import FEWEST, OwnItems, own_items

SHOTS = (0, 1, 2, 3, 5, 10)
METRICS = ("ndcg", "recall", "hit_rate")
BLOCK_BYTES = 64 * 2**20  # score rows held at once
TIMED, WARM_UP = 40, 3  # lists of one user that are timed, and those before that are not
TIMED_SHOTS = 5  # items shown to them, where that many are shown at all


@dataclass(frozen=True)
class Tasks:
    """Users, what each shows and what must be found, for D draws of both.

    users: int32 (B,) codes, rising. shown: int32 (D, B, P) item codes in the order in which they are shown; values, times: the same
    shape (times None where the data has none). left_out: users with too few items; sampled_from: how many there were before a part
    was taken, 0 for all. own: the items each user rated, for the protocol of that name, or None.
    """

    shots: tuple[int, ...]
    users: np.ndarray
    shown: np.ndarray
    values: np.ndarray
    times: np.ndarray | None
    relevant: sparse.csr_matrix  # (B, I): 1 for all relevant items, shown or not
    left_out: int = 0
    sampled_from: int = 0
    own: OwnItems | None = None

    @property
    def draws(self) -> int:
        return self.shown.shape[0]

    @property
    def n_items(self) -> int:
        return self.relevant.shape[1]

    @cached_property
    def wanted(self) -> list[sparse.csr_matrix]:
        """For every draw csr (B, I): what must be found."""
        rows = np.repeat(np.arange(len(self.users)), self.shown.shape[2])
        out = []
        for shown in self.shown:
            gone = sparse.csr_matrix((np.ones(shown.size, np.float32), (rows, shown.ravel())), shape=self.relevant.shape)
            left = (self.relevant - gone).tocsr()
            left.eliminate_zeros()
            left.sort_indices()
            out.append(left)
        return out

    def support(self, draw: int, s: int, rows: slice | np.ndarray) -> Histories:
        """What these users show: their first s items, oldest first, as every history is."""
        items, values = self.shown[draw, rows, :s], self.values[draw, rows, :s]
        times = None if self.times is None else self.times[draw, rows, :s]
        if times is not None and s > 1:
            order = np.argsort(times, axis=1, kind="stable")
            items, values, times = (np.take_along_axis(part, order, axis=1) for part in (items, values, times))
        indptr = np.arange(len(items) + 1, dtype=np.int64) * s
        return Histories(indptr, items.ravel(), values.ravel(), None if times is None else times.ravel())


@dataclass
class Measured:
    """What came of one model. figures: float32 (S, 3, B), METRICS at every number of shots, draws averaged; own: (S, 2, R) or None.

    unadapted: as figures, the same without a gradient step, or None. ms: median milliseconds for one user's list, NaN if not timed.
    """

    figures: np.ndarray
    unadapted: np.ndarray | None = None
    own: np.ndarray | None = None
    ms: float = float("nan")

    def mean(self, shots: Sequence[int]) -> float:
        """NDCG, the mean from 1 item on: what models are ordered by."""
        return float(self.figures[np.asarray(shots) > 0, 0].mean())


def make_tasks(
    holdout: Holdout,
    shots: Sequence[int] = SHOTS,
    *,
    order: Literal["random", "earliest"] = "random",
    draws: int = 1,
    seed: int = 42,
    most_users: int = 0,
) -> Tasks:
    """Cut the whole histories of a holdout's new users again. most_users: a random part of them at most (0 = all).

    Raises BadInput where fewer than FEWEST users are left. Cost: one sort of their interactions, and one a draw.
    """
    if holdout.given is None:
        raise BadInput("The cold start is measured on users who are kept out of training; these are known from it.")
    shots, pool = tuple(sorted(set(shots))), max(shots)
    rows = _distinct(holdout)
    liked = rows.subset(rows.relevant)
    counts = liked.user_counts
    if order == "earliest" and rows.time is None:
        raise BadInput("Which items came earliest cannot be told: this data has no times.", "Let them be drawn by lot (random).")
    ctx = RunContext(seed=seed)
    enough = np.flatnonzero(counts > pool)
    left_out, sampled_from = len(np.unique(rows.user)) - len(enough), 0
    if len(enough) < FEWEST:
        raise BadInput(
            f"At least {FEWEST} new users with {pool + 1} relevant items or more are needed; there are {len(enough)}.",
            "Show fewer items, or keep more users out of training.",
        )
    if most_users and len(enough) > most_users:
        sampled_from = len(enough)
        enough = np.sort(ctx.rng("users").choice(enough, most_users, replace=False))
    chosen = np.zeros(rows.n_users, dtype=bool)
    chosen[enough] = True
    liked = liked.subset(chosen[liked.user])
    at = np.stack([_first(liked, pool, order, ctx.rng(f"draw {n}")) for n in range(draws)])  # (D, B, P) rows of `liked`
    tasks = Tasks(
        shots,
        enough.astype(np.int32),
        liked.item[at],
        liked.value[at],
        None if liked.time is None else liked.time[at],
        liked.matrix("binary")[enough],
        left_out,
        sampled_from,
    )
    return replace(tasks, own=own_items(rows.subset(chosen[rows.user]), tasks.users, tasks.shown, ctx))


def _distinct(holdout: Holdout) -> Dataset:
    """All that is known of the new users, every (user, item) once: the earliest relevant interaction, else the earliest."""
    parts = [part for part in (holdout.given, holdout.truth) if part is not None]
    first = parts[0]
    timed = all(part.time is not None for part in parts)
    joined = Dataset(
        first.users,
        first.items,
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "item", "value")),
        np.concatenate([part.time for part in parts]) if timed else None,
        first.feedback,
        first.threshold,
    )
    pair = joined.user.astype(np.int64) * joined.n_items + joined.item
    by = np.lexsort((joined.time if timed else np.arange(len(joined)), ~joined.relevant, pair))
    return joined.subset(by[np.r_[True, np.diff(pair[by]) != 0]] if len(by) else by)


def _first(liked: Dataset, pool: int, order: str, rng: np.random.Generator) -> np.ndarray:
    """int64 (B, P): rows of the first items of every user; lots decide, or only between equal times."""
    lot = rng.random(len(liked))
    keys = (lot, liked.user) if order == "random" else (lot, liked.time, liked.user)
    by = np.lexsort(keys)
    starts = np.flatnonzero(np.r_[True, np.diff(liked.user[by]) != 0])
    return by[starts[:, None] + np.arange(pool)]


def measure(model: Recommender, tasks: Tasks, k: int = 10, ctx: RunContext = QUIET, *, timed: bool = True) -> Measured:
    """Lists of k for every user at every number of shots, and, of a model that adapts, the same without adapting.

    Raises Unsupported for a model that cannot serve users it has not met. Cost: (shots × draws) passes over the users, twice for a
    model that adapts; memory: blocks of BLOCK_BYTES of scores.
    """
    if not folds_in(model):
        raise Unsupported(f"{model.label} cannot serve users it has not met in training.")
    twice = adapts(model) and hasattr(model, "scores_after")
    figures, own = _pass(model, tasks, k, None, ctx.part("Adapting" if twice else "Lists", 0.0, 0.45 if twice else 0.9))
    out = Measured(figures, own=own)
    if twice:
        out.unadapted, _ = _pass(model, tasks, k, 0, ctx.part("Without adapting", 0.45, 0.9))
    if timed:
        ctx.report("Timing one user", 0.9)
        out.ms = milliseconds(model, tasks, k, ctx)
    return out


def folds_in(model: Recommender) -> bool:
    """Whether it has scores for a history of somebody it has never met."""
    return type(model)._history_scores is not Recommender._history_scores


def adapts(model: Any) -> bool:
    """Whether it takes gradient steps on what a user shows."""
    return bool(getattr(model, "adapts", False))


def _pass(model: Any, tasks: Tasks, k: int, steps: int | None, ctx: RunContext) -> tuple[np.ndarray, np.ndarray | None]:
    """(figures (S, 3, B), own (S, 2, R) or None): as `Measured` has them. steps: None = the model's own way."""
    figures = np.zeros((len(tasks.shots), len(METRICS), len(tasks.users)), np.float32)
    own = None if tasks.own is None else np.zeros((len(tasks.shots), 2, len(tasks.own.rows)), np.float32)
    total = len(tasks.shots) * tasks.draws
    for number, s in enumerate(tasks.shots):
        for draw in range(tasks.draws):
            ctx.report(f"After {s} {'item' if s == 1 else 'items'}", (number * tasks.draws + draw) / total)
            for rows in _blocks(len(tasks.users), tasks.n_items):
                ctx.check()
                scores = _scores(model, tasks.support(draw, s, rows), tasks.users[rows], steps)
                if own is not None:
                    tasks.own.add(own[number], scores, draw, rows)
                np.put_along_axis(scores, tasks.shown[draw, rows].astype(np.int64), -np.inf, axis=1)
                figures[number, :, rows] += list_figures(top_k(scores, k)[0], tasks.wanted[draw][rows], k)
    return figures / tasks.draws, None if own is None else own / tasks.draws


def _scores(model: Any, histories: Histories, users: np.ndarray, steps: int | None) -> np.ndarray:
    """float32 (B, I), a copy that may be written to."""
    found = model.history_scores(histories, users=users) if steps is None else model.scores_after(histories, users=users, steps=steps)
    return np.array(found, dtype=np.float32)


def list_figures(items: np.ndarray, wanted: sparse.csr_matrix, k: int) -> np.ndarray:
    """float (3, B): NDCG, recall and hit rate at k of lists (B, k) whose wanted items are csr (B, I), at least one a row."""
    hits = hit_matrix(items, wanted)
    n_wanted = np.diff(wanted.indptr)
    ideal = np.concatenate([[0.0], np.cumsum(discounts(k))])[np.minimum(n_wanted, k)]
    return np.stack([divide(hits @ discounts(k), ideal), divide(hits.sum(axis=1), n_wanted), hits.any(axis=1)])


def milliseconds(model: Recommender, tasks: Tasks, k: int, ctx: RunContext = QUIET) -> float:
    """Median time of one user's list, adapting included: one user after the other, after a warm-up."""
    s, spent = timed_shots(tasks.shots), []
    for number in range(WARM_UP + TIMED):
        ctx.check()
        row = np.array([number % len(tasks.users)])
        history, user = tasks.support(0, s, row), tasks.users[row]
        start = time.perf_counter()
        model.recommend_for_history(history, k, users=user)
        spent.append(time.perf_counter() - start)
    return 1000 * float(np.median(spent[WARM_UP:]))


def timed_shots(shots: Sequence[int]) -> int:
    """Items shown to the user whose list is timed."""
    return TIMED_SHOTS if TIMED_SHOTS in shots else max(shots)


def _blocks(n: int, n_items: int) -> Iterator[slice]:
    size = int(np.clip(BLOCK_BYTES // (4 * max(1, n_items)), 1, 4096))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
