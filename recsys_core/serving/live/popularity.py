"""What is popular now: counts in which every interaction fades by half in so many days."""

from __future__ import annotations

import numpy as np

MOST_DOUBLINGS = 900.0  # doubles end at 2^1023
FAINT = 1e-30  # float32 ends at 1e-38


class Popularity:
    """Every event weighs 2^(time / half-life): their sums rank items as fading counts would at any later moment, without touching the
    items that had no event. Training counts begin to fade with the first event: however old the data are, they are what is known until
    something happens. since: UTC seconds of the end of the data, where that is known: an event from before it does not make them older."""

    def __init__(self, counts: np.ndarray, half_life_days: float, since: float | None = None) -> None:
        self.half_life = half_life_days * 86_400.0
        self._origin: float | None = None
        self._since = -np.inf if since is None else float(since)
        self._weights = np.asarray(counts, np.float64).copy()

    def add(self, code: int, time: float) -> None:
        """An event on the item with this code; items may be new."""
        if code >= len(self._weights):
            self._weights = np.concatenate([self._weights, np.zeros(max(64, code + 1 - len(self._weights)))])
        if self._origin is None:
            self._origin = max(time, self._since)
        doublings = (time - self._origin) / self.half_life
        if doublings > MOST_DOUBLINGS:
            self._weights *= 0.5**doublings if doublings < 1000 else 0.0
            self._origin, doublings = time, 0.0
        self._weights[code] += 2.0 ** max(doublings, -MOST_DOUBLINGS)

    def scores(self, n: int) -> np.ndarray:
        """float32 (n,) in [0, 1], the most popular item 1."""
        out = np.zeros(n)
        known = min(n, len(self._weights))
        out[:known] = self._weights[:known]
        share = out / max(out.max(initial=0.0), 1e-300)
        # After years of silence what came before is next to nothing, but its order still stands: below 1e-30 only that is kept.
        faint = (share > 0) & (share < FAINT)
        if faint.any():
            share[faint] = FAINT * (1 + np.unique(share[faint], return_inverse=True)[1]) / (1 + faint.sum())
        return share.astype(np.float32)
