"""What the Diversity page reads and works out: candidates, a sample's curve, kept curves. Numpy only; nothing here loads a model.

Everything is kept by workspace folder and run id: a run never changes. Only its candidates may become deeper, so how deep
they are stands in every key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import streamlit as st

from recsys_core import registry
from recsys_core.context import QUIET
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK
from recsys_core.errors import NotFound
from recsys_core.evaluation.tradeoff import STRENGTHS, histories_of, restricted, shaped, tradeoff
from recsys_core.jobs.candidates import all_training
from recsys_core.jobs.diversity_spec import DiversitySpec
from recsys_core.rerank._base import Shelf

from . import state

SAMPLE = 300  # users of the live estimate
KIND = "diversity"
FIRST = ("mmr", "dpp", "xquad", "calibrated", "popularity_discount", "long_tail_quota", "rules")


@dataclass(frozen=True, eq=False)
class Bench:
    """All that shaping the lists of one run needs. candidates: one row an evaluated user; row b of histories is theirs.

    sample: rows of the live estimate; sampled: what was held out from these users.
    """

    run_id: str
    candidates: TopK
    shelf: Shelf
    holdout: Holdout
    histories: Histories
    sample: np.ndarray
    sampled: Holdout

    @property
    def users(self) -> IdMap:
        return self.holdout.truth.users

    @property
    def items(self) -> IdMap:
        return self.holdout.truth.items

    @property
    def depth(self) -> int:
        return self.candidates.k

    @property
    def is_sample(self) -> bool:
        """Whether the live figures leave users out."""
        return len(self.sample) < len(self.candidates)

    @cached_property
    def by_activity(self) -> np.ndarray:
        """Rows with a list, longest history first."""
        rows = np.flatnonzero(self.candidates.items[:, 0] >= 0)
        return rows[np.lexsort((rows, -self.histories.lengths[rows]))]


@dataclass(frozen=True)
class Setting:
    """One way to shape lists: all but the strength. params: as JSON, so that it can be a key."""

    method: str
    params: str
    k: int

    @property
    def values(self) -> dict[str, Any]:
        return json.loads(self.params)

    @classmethod
    def of(cls, method: str, params: dict[str, Any], k: int) -> Setting:
        return cls(method, json.dumps({n: v for n, v in params.items() if n != "strength"}, sort_keys=True), k)

    def spec(self, run_id: str) -> DiversitySpec:
        """What the job that works out the whole curve is asked."""
        return DiversitySpec.make(run=run_id, method=self.method, params=self.values, k=self.k)


def methods() -> dict[str, Any]:
    """Key -> re-ranker, the usual ones first."""
    found = {key: registry.get("reranker", key) for key in registry.keys("reranker")}
    return {key: found[key] for key in sorted(found, key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key))}


# ---- a run -------------------------------------------------------------------------------------------
def bench(run: Any) -> Bench:
    """Raises NotFound where the run kept no lists or no training set."""
    return _bench(str(state.root()), run.id, _version(run))


def _version(run: Any) -> int:
    """Changes when deeper candidates are written."""
    try:
        return (run.path / "candidates.npz").stat().st_mtime_ns
    except OSError:
        return 0


@st.cache_resource(max_entries=2, show_spinner="Reading the lists …")
def _bench(folder: str, run_id: str, version: int) -> Bench:
    workspace = state._workspace(folder)
    run = workspace.run(run_id)
    try:
        candidates, holdout, shelf = run.candidates(), run.holdout(), Shelf(all_training(workspace, run, QUIET))
    except FileNotFoundError:
        raise NotFound(f"The result '{run.name}' kept no lists that could be shaped.", "Train it again, or choose another.") from None
    known = candidates.take(np.flatnonzero(np.isin(candidates.users, holdout.users)))
    rows = np.arange(len(known))
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(rows, SAMPLE, replace=False))
    histories = histories_of(known.users, holdout, shelf)
    return Bench(run_id, known, shelf, holdout, histories, rows, restricted(holdout, known.users[rows]))


@st.cache_resource(max_entries=64, show_spinner=False)
def _why_not(folder: str, run_id: str, _shelf: Shelf) -> dict[str, str]:
    return {key: cls.why_not(_shelf) for key, cls in methods().items()}


def why_not(of: Bench) -> dict[str, str]:
    """Method -> why it cannot be used on these lists; "" where it can."""
    return _why_not(str(state.root()), of.run_id, of.shelf)


# ---- the curve ---------------------------------------------------------------------------------------
def strengths_of(method: str) -> tuple[float, ...]:
    """The steps of the slider; a method without one is either off or on."""
    return STRENGTHS if registry.get("reranker", method).has_strength() else (0.0, 1.0)


def estimate(of: Bench, setting: Setting) -> list[dict[str, Any]]:
    """The curve on the sample, worked out once."""
    return _estimate(str(state.root()), of.run_id, of.depth, setting, of)


@st.cache_resource(max_entries=64, show_spinner="Trying all strengths on a sample of users …")
def _estimate(folder: str, run_id: str, depth: int, setting: Setting, _of: Bench) -> list[dict[str, Any]]:
    candidates = _of.candidates.take(_of.sample)
    return tradeoff(candidates, _of.sampled, _of.shelf, setting.method, setting.values, strengths_of(setting.method), setting.k)


def kept_curves(run_id: str, k: int) -> list[Any]:
    """Worked-out curves of this run at this list length, newest first."""
    return [found for found in state.workspace().analyses(KIND, run=run_id) if found.payload.get("k") == k]


def kept_curve(run_id: str, setting: Setting) -> Any:
    """The analysis of exactly this setting, or None."""
    wanted = setting.spec(run_id).analysis_id
    return next((found for found in kept_curves(run_id, setting.k) if found.id == wanted), None)


# ---- lists -------------------------------------------------------------------------------------------
def lists_of(of: Bench, setting: Setting, strength: float, rows: Sequence[int]) -> tuple[TopK, TopK]:
    """(before, after) of some users. Methods without a strength may weigh all lists together, so they get the sample with them."""
    rows = np.asarray(rows, dtype=np.int64)
    together = rows if registry.get("reranker", setting.method).has_strength() else np.concatenate([rows, np.setdiff1d(of.sample, rows)])
    candidates = of.candidates.take(together)
    after = shaped(candidates, setting.k, of.shelf, setting.method, setting.values, strength, of.histories.take(together))
    mine = np.arange(len(rows))
    return candidates.cut(setting.k).take(mine), after.take(mine)


def group_shares(of: Bench, items: np.ndarray) -> np.ndarray:
    """float (G,): what the items are made of, sum 1 (or all 0)."""
    items = items[items >= 0]
    if not len(items):
        return np.zeros(of.shelf.groups.shape[1])
    total = np.asarray(of.shelf.groups[items].sum(axis=0)).ravel()
    return total / max(total.sum(), 1e-12)


# ---- whose lists -------------------------------------------------------------------------------------
KINDS_OF_USERS = ("Active", "In between", "Newcomer")


def sample_users(of: Bench, turn: int) -> dict[str, int]:
    """Kind of user -> row, one of each third by length of history; another one each turn."""
    order = of.by_activity
    if not len(order):
        return {}
    thirds = [part for part in np.array_split(order, min(len(KINDS_OF_USERS), len(order))) if len(part)]
    picks = []
    for place, part in enumerate(thirds):
        middle = {0: len(part) // 8, len(thirds) - 1: len(part) - 1 - len(part) // 8}.get(place, len(part) // 2)
        shift = int(np.random.default_rng((turn, place)).integers(len(part))) if turn else 0
        picks.append(int(part[(middle + shift) % len(part)]))
    return dict(zip(KINDS_OF_USERS, picks, strict=False))


def row_of(of: Bench, user: str) -> int:
    """The row of a user by id; -1 for one without a list."""
    code = int(of.users.encode([user])[0])
    rows = np.flatnonzero(of.candidates.users == code) if code >= 0 else np.empty(0, np.int64)
    return int(rows[0]) if len(rows) else -1
