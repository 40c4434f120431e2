"""Two runs judged by the same users in one list: team-draft interleaving, replayed on held-out interactions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...data.topk import TopK
from ...errors import BadInput
from ...metrics._bootstrap import mean_intervals


@dataclass(frozen=True)
class Interleaving:
    """credit: float (B,) in [-1, 1], share of draws in which B collected more clicks than A less the reverse, a user each.
    preference: its mean, > 0 when B is preferred; low, high: bootstrap interval; p_value: sign test over users who prefer one.
    wins_a, wins_b, ties: users by the sign of their credit. without_clicks: of the ties, users no draw gave a click."""

    name_a: str
    name_b: str
    k: int
    n_draws: int
    n_users: int
    preference: float
    low: float
    high: float
    level: float
    p_value: float
    wins_a: int
    wins_b: int
    ties: int
    without_clicks: int
    credit: np.ndarray

    @property
    def clear(self) -> bool:
        return (self.low > 0 or self.high < 0) and self.p_value < 1 - self.level

    def sentence(self) -> str:
        """The verdict in plain words."""
        counts = f"{self.wins_b:,} users lean to {self.name_b}, {self.wins_a:,} to {self.name_a}, {self.ties:,} to neither"
        if not self.clear:
            return f"Neither list is clearly preferred: {counts}."
        better = self.name_b if self.preference > 0 else self.name_a
        low, high = sorted((abs(self.low), abs(self.high)))
        return f"{better} is preferred in one list: {counts} (net {100 * abs(self.preference):.1f} %, {100 * low:.1f} to {100 * high:.1f})."


def interleave(
    a: TopK,
    b: TopK,
    relevant: sparse.csr_matrix,
    *,
    k: int = 10,
    names: tuple[str, str] = ("A", "B"),
    n_draws: int = 20,
    level: float = 0.95,
    seed: int = 0,
) -> Interleaving:
    """a, b: lists of the same users, row by row; relevant: csr (B, I), what they took in the held-out part: the clicks.

    Source: Radlinski, Kurup & Joachims, "How does clickthrough data reflect retrieval quality?", CIKM 2008,
    https://doi.org/10.1145/1458082.1458092; judged as Chapelle et al., TOIS 2012.
    Differs: clicks are replayed, not live: an item nobody was shown cannot be clicked, so both sides are judged on what users
    found without them. The coin is tossed n_draws times a user and averaged. Cost: n_draws · k comparisons of (B, k).
    """
    if not np.array_equal(a.users, b.users) or relevant.shape[0] != len(a.users):
        raise BadInput("Both runs and what was held out must be about the same users, in the same order.")
    if not 1 <= k <= min(a.k, b.k):
        raise BadInput(f"The list length must be from 1 to {min(a.k, b.k)}, the length of the lists kept; got {k}.")
    rng = np.random.default_rng(seed)
    clicked_a, clicked_b = (_clicked(top.items[:, :k], relevant) for top in (a, b))
    total, any_click = np.zeros(len(a)), np.zeros(len(a), dtype=bool)
    for _ in range(n_draws):
        got_a, got_b = team_draft(a.items[:, :k], b.items[:, :k], clicked_a, clicked_b, rng)
        total += np.sign(got_b - got_a)
        any_click |= (got_a + got_b) > 0
    credit = total / n_draws
    low, high = mean_intervals(credit[:, None], level=level, seed=seed)
    wins_a, wins_b = int((credit < 0).sum()), int((credit > 0).sum())
    from scipy.stats import binomtest

    p = float(binomtest(wins_b, wins_a + wins_b).pvalue) if wins_a + wins_b else 1.0
    return Interleaving(
        *names, k, n_draws, len(a), float(credit.mean()) if len(a) else 0.0, float(low[0]), float(high[0]), level, p,
        wins_a, wins_b, len(a) - wins_a - wins_b, int((~any_click).sum()), credit,
    )  # fmt: skip


def team_draft(
    a: np.ndarray, b: np.ndarray, clicked_a: np.ndarray, clicked_b: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(clicks of A's picks, of B's) (B,) in one interleaved list of k places for every row. a, b: int (B, k), -1 = no item."""
    n_rows, k = a.shape
    rows = np.arange(n_rows)
    used_a, used_b = a < 0, b < 0
    got_a, got_b = np.zeros(n_rows, dtype=np.int64), np.zeros(n_rows, dtype=np.int64)
    turn_b = np.zeros(n_rows, dtype=bool)
    for place in range(k):
        # Captains toss a coin for every pair of picks; the loser picks second.
        turn_b = rng.random(n_rows) < 0.5 if place % 2 == 0 else ~turn_b
        # A side that has run out leaves the place to the other.
        turn_b = np.where(used_b.all(axis=1), False, np.where(used_a.all(axis=1), True, turn_b))
        column = np.where(turn_b, (~used_b).argmax(axis=1), (~used_a).argmax(axis=1))
        left = ~np.where(turn_b, used_b.all(axis=1), used_a.all(axis=1))
        item = np.where(left, np.where(turn_b, b[rows, column], a[rows, column]), -2)
        hit = left & np.where(turn_b, clicked_b[rows, column], clicked_a[rows, column])
        got_b += hit & turn_b
        got_a += hit & ~turn_b
        used_a |= a == item[:, None]
        used_b |= b == item[:, None]
    return got_a, got_b


def _clicked(items: np.ndarray, relevant: sparse.csr_matrix) -> np.ndarray:
    """bool (B, k): the item is one the user took."""
    row = np.repeat(np.arange(len(items), dtype=np.int64), np.diff(relevant.indptr))
    wanted = row * relevant.shape[1] + relevant.indices
    asked = np.arange(len(items), dtype=np.int64)[:, None] * relevant.shape[1] + items
    return np.isin(asked, wanted) & (items >= 0)
