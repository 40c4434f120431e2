"""Why an item is on a list, from what the form can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...portable.bundle import Bundle
from ...portable.history import History
from ._asked import Asked
from .records import Path, Reasons

LEFT_OUT_AT_MOST = 30  # newest entries tried where a form cannot say what each adds


def reasons(bundle: Bundle, asked: Asked, item: int, score: float, path: Path, k: int, near: Sequence[np.ndarray] = ()) -> Reasons:
    """score: the item's. near: of an item that came later, (codes, likeness) of the known items it is most like."""
    known, user = asked.known, asked.code
    name = bundle.items.ids[item]
    if not np.isfinite(score):
        return Reasons(name, (), 0.0, False, "Nothing is known of this item that speaks for or against it.", path)
    if path in ("popular", "content"):
        said = {"popular": "It is popular now.", "content": "Its columns are like those of what was chosen."}
        return Reasons(name, (), score, False, said[path], path)
    if item >= bundle.n_items:
        codes, like = near
        scores = bundle.scores(known, user, asked.trained)[codes]
        weights = np.where(np.isfinite(scores), like, 0)
        parts = np.where(weights > 0, scores, 0) * weights / weights.sum()
        named = tuple((bundle.items.ids[code], float(part)) for code, part in zip(codes[:k], parts[:k], strict=True))
        method = "It is new: it has the mean score of the known items its columns are most like, each by its likeness."
        return Reasons(name, named, score, len(codes) <= k, method, path)
    told = whole = known if user >= 0 else bundle.scale.told(known, asked.trained)
    found = bundle.form.shares(item, told)
    if found is not None:
        parts, exact = found
        sure = "; those of the whole history add up to it." if exact else ", as shares."
        method = f"What each item of the history adds to the score{sure}"
    else:
        told = told.last(LEFT_OUT_AT_MOST)
        everything = np.arange(len(told))
        all_of_it = float(bundle.form.scores(told)[item]) if len(told) else 0.0
        parts = np.array([all_of_it - _without(bundle, told, everything != at, item) for at in everything])
        exact, method = False, f"How far the score falls without each of the newest {len(told)} items of the history."
    order = np.argsort(-np.abs(parts), kind="stable")
    order = order[np.asarray(parts)[order] != 0][:k]
    order = order[np.argsort(-np.asarray(parts)[order], kind="stable")]
    named = tuple((bundle.items.ids[told.items[at]], float(parts[at])) for at in order)
    brought = getattr(bundle.form, "part_shares", lambda *_: None)(item, whole) if len(whole) else None
    models = tuple((str(label), float(share)) for label, share in brought or ())
    return Reasons(name, named, score, exact, method, path, models)


def _without(bundle: Bundle, told: History, keep: np.ndarray, item: int) -> float:
    rest = told.take(keep)
    if not len(rest) and not bundle.form.serves_nothing:
        return float(bundle.popularity[item])
    return float(bundle.form.scores(rest)[item])
