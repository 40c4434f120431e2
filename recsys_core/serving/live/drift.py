"""Whether the model still foretells what people do: a rolling share of hits, and when to train again."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...portable.lists import best_of

if TYPE_CHECKING:
    from .predictor import Predictor
    from .records import Event

FORETOLD_K = 10
WINDOW, LEAST, SHARE, CONFIDENCE = 500, 100, 0.8, 1.96
POINTS_EVERY, MOST_POINTS = 25, 400


@dataclass(frozen=True)
class Interval:
    rate: float
    low: float
    high: float


def wilson(hits: int, n: int, z: float = CONFIDENCE) -> Interval:
    """The share and its 95 % interval. Source: Wilson 1927, Probable inference, the law of succession, and statistical inference."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    rate, squared = hits / n, z * z
    centre = (rate + squared / (2 * n)) / (1 + squared / n)
    half = z / (1 + squared / n) * math.sqrt(rate * (1 - rate) / n + squared / (4 * n * n))
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


class Drift:
    """Told of every liked item whether it was on the list its user would have been given a moment before.

    The reference is the rate over the first 500 of them: what the model reached when it was new to the service. That compares like with
    like; the figure of its test (`tested`) counts users with any hit in ten, which is another thing, and is only shown beside it.
    Suggests to train again when the interval of the last 500 lies below four fifths of the reference."""

    def __init__(self, tested: float | None = None, window: int = WINDOW) -> None:
        self.tested, self.window = tested, window
        self.n = 0
        self._recent: deque[bool] = deque(maxlen=window)
        self._first = 0
        self.points: deque[tuple[int, float, float, float]] = deque(maxlen=MOST_POINTS)  # (events, rate, low, high)

    def add(self, hit: bool) -> None:
        self.n += 1
        self._recent.append(hit)
        if self.n <= self.window:
            self._first += hit
        if self.n % POINTS_EVERY == 0 and self.n >= LEAST:
            now = self.now
            self.points.append((self.n, now.rate, now.low, now.high))

    @property
    def now(self) -> Interval:
        return wilson(sum(self._recent), len(self._recent))

    @property
    def reference(self) -> float | None:
        """The rate when the model was new here; None before there were enough events."""
        return self._first / self.window if self.n >= self.window else None

    @property
    def retrain(self) -> bool:
        reference = self.reference
        return reference is not None and self.n >= 2 * self.window and self.now.high < SHARE * reference

    @property
    def sentence(self) -> str:
        now, reference = self.now, self.reference
        if len(self._recent) < LEAST:
            liked = f"{self.n:,} liked {'item' if self.n == 1 else 'items'}"
            return f"{liked} so far; from {LEAST} on it can be said how many of them the lists foretold."
        said = f"{now.rate:.1%} of the last {len(self._recent):,} liked items were on the list of ten ({now.low:.1%} to {now.high:.1%})"
        if reference is None:
            return f"{said}."
        if self.retrain:
            return f"{said}; it was {reference:.1%} when the model was new here. It is time to train again."
        return f"{said}; it was {reference:.1%} when the model was new here."

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, for /health and charts."""
        now = self.now
        return {
            "n": self.n,
            "rate": None if math.isnan(now.rate) else now.rate,
            "low": now.low,
            "high": now.high,
            "reference": self.reference,
            "tested": self.tested,
            "retrain": self.retrain,
            "sentence": self.sentence,
            "points": [list(point) for point in self.points],
        }


def foretold(predictor: Predictor, event: Event) -> bool | None:
    """Was the item on the list a moment before? None: items the user has already are no test of a list."""
    try:
        asked = predictor._asked(event.user, None, None, None)
        target = predictor.bundle.items.code(event.item)
        if target >= 0 and (target in asked.known.items or target in asked.later):
            return None
        scores, _ = predictor._scores(asked)
        asked.leave_out(scores)
        return target >= 0 and bool(target in best_of(scores, FORETOLD_K)[0])
    except Exception as error:  # an event is kept even where the model fails; what failed is told in `state`
        predictor._drift_problem = f"A list could not be computed when an event came ({type(error).__name__}: {str(error)[:120]})."
        return None
