"""What a replay comes to: rates with intervals, the paired comparison of people, points for charts, and the sentence that says it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.compare import Difference, differences
from .replay import LEAST_SHOWN, LINES, POINTS, WINDOW, Replayed, rolling

LEAST_USERS = 5
NAMES = {"online": "the model that learns online", "frozen": "the frozen model", "popular": "what is popular just then"}


def result_of(found: Replayed, k: int, *, window: int = WINDOW, seed: int = 0) -> dict[str, Any]:
    """JSON-able: k, window, measured, users, rates {line: {mean, low, high}}, difference, beside_popular, verdict, points, ms."""
    metric = f"hit_rate@{k}"
    n, people = len(found.at), len(np.unique(found.users))
    rates: dict[str, Any] = {}
    difference = popular = None
    if n:
        frames = hits_per_user(found, metric)
        nothing = frames["frozen"] * 0
        levels = differences({"nothing": nothing} | frames, "nothing", [metric], seed=seed, wilcoxon=False)
        rates = {one.name_b: {"mean": one.mean_b, "low": max(0.0, one.low), "high": min(1.0, one.high)} for one in levels}
        difference = differences({"frozen": frames["frozen"], "online": frames["online"]}, "frozen", [metric], seed=seed, wilcoxon=False)[0]
        popular = differences({"popular": frames["popular"], "online": frames["online"]}, "popular", [metric], seed=seed, wilcoxon=False)[0]
    return {
        "k": k,
        "window": window,
        "measured": n,
        "users": people,
        "had": found.had,
        "disliked": found.disliked,
        "new_items": found.new_items,
        "new_users": found.new_users,
        "ms": found.ms,
        "rates": rates,
        "difference": None if difference is None else difference.as_dict(),
        "beside_popular": None if popular is None else popular.as_dict(),
        "verdict": verdict(difference, popular, k, people, one_each=n == people and np.array_equal(*map(found.hits.get, LINES[:2]))),
        "helps": says(difference, people),
        "points": points(found, window),
    }


def hits_per_user(found: Replayed, metric: str) -> dict[str, pd.DataFrame]:
    """line -> one number a user whose mean over users is the share of all events that hit, and whose spread is that of this share.

    The share is a ratio: hits over events, of users who have few events or many. Counted in plain hits, users with many events would look
    far from the others though they are hit as often; so a user is told by the hits beyond those the share foretells.
    Source: the linearised ratio, Cochran, Sampling techniques, 3rd ed. 1977, chapter 6; Deng et al., https://doi.org/10.1145/3219819.3219919.
    """
    present, place = np.unique(found.users, return_inverse=True)
    n_events = np.bincount(place, minlength=len(present))
    frames = {}
    for name in LINES:
        hits = np.bincount(place, found.hits[name], minlength=len(present))
        frames[name] = pd.DataFrame({metric: _linearised(hits, n_events)}, index=present)
    return frames


def _linearised(sums: np.ndarray, n_events: np.ndarray) -> np.ndarray:
    """float (users,): mean sums.sum() / n_events.sum()."""
    share = sums.sum() / n_events.sum()
    return share + (sums - share * n_events) / n_events.mean()


def says(difference: Difference | None, people: int) -> str:
    """ "helps", "hurts" or "unclear"."""
    if difference is None or people < LEAST_USERS or not difference.clear:
        return "unclear"
    return "helps" if difference.difference > 0 else "hurts"


def verdict(difference: Difference | None, popular: Difference | None, k: int, people: int, *, one_each: bool = False) -> list[str]:
    """Sentences, the first of which decides. one_each: nobody was measured more than once, and nothing changed."""
    if difference is None or popular is None:
        return ["It cannot be told: none of the held-out events was of an item its user liked and did not have before."]
    frozen, online = difference.mean_a, difference.mean_b
    found = f"of the items people went on to like, {_share(online)} were on their list of {k} when the model took in every event"
    shares = f"{found}, {_share(frozen)} when it stayed as trained"
    gap = f"{_points(difference.difference)} percentage points, 95 % interval {_points(difference.low)} to {_points(difference.high)}"
    kind = says(difference, people)
    if one_each and kind == "unclear":
        first = (
            "It cannot be told from this result whether learning online helps: every user has one held-out event, so nothing of theirs "
            "came in before it. Train with the split rule 'Global time', and replay that."
        )
    elif kind == "unclear":
        few = f" with {people} users" if people < LEAST_USERS else ""
        first = f"It cannot be told on this data whether learning online helps{few}: {shares} ({gap})."
    else:
        first = f"Learning online {kind} on this data: {shares} ({gap})."
    second = f"What is popular just then, the same for everybody, reaches {_share(popular.mean_a)}"
    if popular.clear and popular.difference < 0:
        return [first, f"{second}: more than the model online. Look for a better recommender first."]
    unsure = "" if popular.clear else ", and the model online is not clearly better than that"
    return [first, f"{second}{unsure}."]


def points(found: Replayed, window: int = WINDOW) -> list[dict[str, float]]:
    """At most `POINTS` moments: events, time, the rolling rate of every line, and the difference so far with its interval over users."""
    n = len(found.at)
    if n < LEAST_SHOWN:
        return []
    chosen = np.unique(np.linspace(LEAST_SHOWN - 1, n - 1, min(POINTS, n - LEAST_SHOWN + 1)).astype(int))
    lines = {name: rolling(found.hits[name], window) for name in LINES}
    gap = found.hits["online"].astype(float) - found.hits["frozen"]
    out = []
    for at in chosen.tolist():
        users = found.users[: at + 1]
        present, place = np.unique(users, return_inverse=True)
        per_user = _linearised(np.bincount(place, gap[: at + 1], len(present)), np.bincount(place))
        middle = float(per_user.mean())
        half = 1.96 * float(per_user.std(ddof=1)) / np.sqrt(len(per_user)) if len(per_user) > 1 else float("nan")
        one = {"events": at + 1, "time": float(found.times[at]), "gap": middle}
        one |= {name: float(line[at]) for name, line in lines.items()}
        out.append(one | ({"low": middle - half, "high": middle + half} if np.isfinite(half) else {}))
    return out


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f}"  # no -0.0
