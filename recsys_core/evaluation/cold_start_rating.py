"""Ranking of a user's own items: of ten that the user rated, are the best ones put first? An easier question than finding them.

Source: Lee et al., MeLU: Meta-learned user preference estimator for cold-start recommendation, 2019, section 5,
https://arxiv.org/abs/1908.00413: ten rated items a user are ranked by the prediction; precision and NDCG at 5, gains 2^rating - 1.
Differs: what the user shows are liked items, the same as everywhere here; precision counts items at or above the threshold; figures of
a random order are worked out exactly and stand beside the others, since half of all orders put every item into the first 5 of 10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..context import RunContext
from ..data.dataset import Dataset
from ..metrics._lists import discounts

NAME = "Ranking of a user's own items"
CUT, N_QUERY = 5, 10
FEWEST = 5  # users below which nothing is measured
LARGEST = 10.0  # ratings above it, or below 0, are brought to 0 to 5 first: 2^rating would drown all but the best


@dataclass(frozen=True)
class OwnItems:
    """rows: int64 (R,) numbers of users, rising. items: int32 (D, R, 10) in an order of chance; liked: bool, gains: float, the same shape.

    left_out: users with fewer than ten rated items besides those shown. scaled: whether ratings were brought to 0 to 5.
    """

    rows: np.ndarray
    items: np.ndarray
    liked: np.ndarray
    gains: np.ndarray
    left_out: int
    scaled: bool

    def add(self, out: np.ndarray, scores: np.ndarray, draw: int, block: slice) -> None:
        """Add precision and NDCG of a block of users, whose scores are (b, I), to out (2, R)."""
        first, last = np.searchsorted(self.rows, [block.start, block.stop])
        here = slice(int(first), int(last))
        own = np.take_along_axis(scores[self.rows[here] - block.start], self.items[draw, here].astype(np.int64), axis=1)
        out[:, here] += own_figures(own, self.liked[draw, here], self.gains[draw, here])

    def chance(self) -> tuple[float, float]:
        """(precision, NDCG) expected of a random order, the mean over users and draws."""
        return tuple(float(part.mean()) for part in chance(self.liked, self.gains))


def own_items(rated: Dataset, users: np.ndarray, shown: np.ndarray, ctx: RunContext) -> OwnItems | None:
    """Ten rated items, liked or not, of every user, other than those shown (D, B, P); None without ratings or with hardly any users.

    rated: every (user, item) once, of these users alone.
    """
    if rated.feedback != "explicit" or rated.threshold is None:
        return None
    pool = shown.shape[2]
    row = np.searchsorted(users, rated.user)
    enough = np.bincount(row, minlength=len(users)) >= pool + N_QUERY
    if enough.sum() < FEWEST:
        return None
    keep = enough[row]
    rated, row = rated.subset(keep), row[keep]
    at = np.stack([_drawn(rated, row, shown[n], ctx.rng(f"own items {n}")) for n in range(len(shown))])
    value = rated.value.astype(np.float64)
    scaled = bool(value.max() > LARGEST or value.min() < 0)
    if scaled:
        value = 5 * (value - value.min()) / max(float(np.ptp(value)), 1e-12)
    return OwnItems(np.flatnonzero(enough), rated.item[at], rated.relevant[at], (2**value - 1)[at], int((~enough).sum()), scaled)


def _drawn(rated: Dataset, row: np.ndarray, shown: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64 (R, 10): rows of `rated`, by lot, none of them shown."""
    keys = row.astype(np.int64) * rated.n_items + rated.item
    taken = np.isin(keys, np.arange(len(shown), dtype=np.int64)[:, None] * rated.n_items + shown)
    by = np.lexsort((rng.random(len(rated)), taken, row))
    starts = np.flatnonzero(np.r_[True, np.diff(row[by]) != 0])
    return by[starts[:, None] + np.arange(N_QUERY)]


def own_figures(scores: np.ndarray, liked: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """float (2, R): precision and NDCG at 5 of items (R, n) ranked by their scores; equal scores keep the order of the columns."""
    order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), axis=1, kind="stable")[:, :CUT]
    found = np.take_along_axis(gains, order, axis=1) @ discounts(CUT)
    return np.stack([np.take_along_axis(liked, order, axis=1).mean(axis=1), _share(found, gains)])


def chance(liked: np.ndarray, gains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(precision, NDCG at 5), each (…,): their expectation over all orders of the items in the last axis.

    In a random order every item is equally likely at every place, so the share liked is the precision, and the mean gain stands at
    every place; the ideal does not depend on the order.
    """
    return liked.mean(axis=-1), _share(gains.mean(axis=-1) * discounts(CUT).sum(), gains)


def _share(found: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Of the gain of the best order; 1 where no order gains anything, since none is worse then."""
    best = -np.sort(-gains, axis=-1)[..., :CUT] @ discounts(CUT)
    return np.where(best > 0, found / np.where(best > 0, best, 1.0), 1.0)
