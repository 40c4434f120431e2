"""Columns that know the answer: that go along with the interactions a model is to foretell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from .look import Look

if TYPE_CHECKING:
    from ..dataset import Dataset

CERTAIN = 0.95  # rank correlation (for categories: share of the deviation of the ranks) from which a column is taken for a leak
LIKELY = 0.5  # of a column whose name says that it counts interactions
FEWEST_ROWS = 30
MOST_CATEGORIES = 50
MOST_ROWS = 200_000
NAMED = re.compile(
    r"rating|(?<![a-z])stars?(?![a-z])|popular|sales|(?<![a-z])sold|views|clicks|plays|downloads|purchases|orders|best_?seller|trending"
    r"|(?:n|num|number|count|total)_?(?:of_?)?(?:users|votes|reviews|buyers|interactions|events)|(?<![a-z])rank(?:ing)?(?![a-z])"
    r"|(?:vote|review|user|play|view|click)s?_?(?:count|average|avg|mean)",
    re.I,
)


@dataclass(frozen=True)
class Leak:
    """strength: 0 … 1. of: what it goes along with, in words. named: only its name and a weaker likeness speak for it."""

    strength: float
    of: str
    named: bool = False


def answers(data: Dataset, side: str) -> dict[str, np.ndarray]:
    """What a column must not know, in words -> float64 (n,), NaN for those without interactions."""
    code, n = (data.item, data.n_items) if side == "item" else (data.user, data.n_users)
    counts = np.bincount(code, minlength=n).astype(np.float64)
    counts[counts == 0] = np.nan
    out = {f"how many interactions the {side} has": counts}
    if data.feedback == "explicit":
        with np.errstate(invalid="ignore"):
            out[f"the mean rating {'of the item' if side == 'item' else 'the user gives'}"] = np.bincount(code, data.value, n) / counts
    return out


def leak(name: str, look: Look, known: dict[str, np.ndarray], decimal: str = ".") -> Leak | None:
    """The strongest likeness of a column with an answer, where it is strong enough to be said."""
    values = look.numbers(decimal)
    numeric = len(values) > 0 and look.counts[np.isfinite(values)].sum() >= 0.95 * look.n_present and len(values) > 2
    found = [(_likeness(look, values if numeric else None, answer), of) for of, answer in known.items()]
    strength, of = max(found)
    if strength >= CERTAIN:
        return Leak(strength, of)
    return Leak(strength, of, named=True) if strength >= LIKELY and NAMED.search(name) else None


def _likeness(look: Look, values: np.ndarray | None, answer: np.ndarray) -> float:
    """|rank correlation| of a number with an answer; of categories the root of the share of the ranks' variance they explain."""
    rows = np.flatnonzero((look.code >= 0) & np.isfinite(answer[: len(look)]))
    if values is not None:
        rows = rows[np.isfinite(values[look.code[rows]])]
    if len(rows) > MOST_ROWS:
        rows = np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False)
    if len(rows) < FEWEST_ROWS:
        return 0.0
    right = rankdata(answer[rows])
    if right.std() == 0:
        return 0.0
    if values is not None:
        left = rankdata(values[look.code[rows]])
        return float(abs(np.corrcoef(left, right)[0, 1])) if left.std() > 0 else 0.0
    used, code = np.unique(look.code[rows], return_inverse=True)
    sizes = np.bincount(code)
    if not 2 <= len(used) <= MOST_CATEGORIES or len(rows) < 10 * len(used):
        return 0.0
    means = np.bincount(code, right) / sizes
    return float(np.sqrt((sizes * (means - right.mean()) ** 2).sum() / len(rows)) / right.std())
