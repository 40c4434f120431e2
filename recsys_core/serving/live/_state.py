"""How a predictor is doing, for /health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...portable.lists import best_of
from .near import FROM_ITEMS

if TYPE_CHECKING:
    from .predictor import Predictor


def _index(predictor: Predictor) -> str | None:
    if predictor.near is not None:
        return predictor.near.sentence
    n_items = predictor.bundle.n_items
    large = n_items >= FROM_ITEMS and predictor.bundle.form.item_matrix is not None
    return f"All {n_items:,} items are looked at for every list; an index is used where faiss is installed." if large else None


def state_of(predictor: Predictor) -> dict[str, Any]:
    """Users at hand, events, what is wrong with the log, what is popular, drift. Under the predictor's lock."""
    bundle, log, drift = predictor.bundle, predictor.log, predictor.drift
    top, _ = best_of(predictor.popularity.scores(len(bundle.items)), 5)
    return {
        "users_in_memory": len(predictor._sessions),
        "users_evicted": predictor._sessions.evicted,
        "events": predictor.n_events,
        "new_items": len(bundle.items) - bundle.n_items,
        "most_new_items": predictor.catalogue.most_new,
        "popular": bundle.items.decode(top),
        "index": _index(predictor),
        "log_problem": None if log is None else log.problem,
        "events_waiting": 0 if log is None else log.waiting,
        "damaged_lines": 0 if log is None else log.skipped,
        "events_lost": 0 if log is None else log.lost,
        "drift": None if drift is None else drift.as_dict(),
        "drift_problem": predictor._drift_problem,
    }
