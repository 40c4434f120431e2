"""The scorer's side of `onboarding`: questions, the map of items and the way of a user on it."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..data.histories import Histories
from ..errors import Unsupported
from ..evaluation.questions import Asker, scale_of, told
from ..models._base import Recommender
from ._plane import Plane
from .loaded import LoadedModels
from .requests import MapRequest, PathRequest, QuestionsRequest, ScaleRequest
from .verbs import encode_histories

_planes: WeakKeyDictionary[Recommender, Plane] = WeakKeyDictionary()
_askers: WeakKeyDictionary[Recommender, Asker] = WeakKeyDictionary()
_lock = threading.Lock()


def scale(models: LoadedModels, ask: ScaleRequest) -> dict[str, Any]:
    """The values of a plain like and dislike."""
    with models.use(ask.run) as model:
        return asdict(scale_of(model))


def questions(models: LoadedModels, ask: QuestionsRequest) -> dict[str, Any]:
    """The next items to ask about, from what the run was trained on."""
    if len(ask.values) != len(ask.answers):
        raise Unsupported("values must give one number for every answer.")
    with models.use(ask.run) as model:
        asker, items = _asker(model), model.fitted.items
        start = time.perf_counter()
        codes, out = items.encode([*ask.answers, *ask.skipped]), items.encode(ask.skipped) if ask.skipped else np.empty(0, np.int32)
        answered = [(int(code), value) for code, value in zip(codes, ask.values, strict=False) if code >= 0]
        found = asker.next(answered, out[out >= 0].tolist(), ask.n)
        known, liked = asker.shares(found)
        unknown = [item for item, code in zip([*ask.answers, *ask.skipped], codes, strict=True) if code < 0]
        return {
            "items": items.decode(found).tolist(),
            "known": known.tolist(),
            "liked": liked.tolist(),
            "unknown": unknown,
            "model_ms": 1000 * (time.perf_counter() - start),
        }


def item_map(models: LoadedModels, ask: MapRequest) -> dict[str, Any]:
    """The most popular items on the plane of the model's item vectors, and those of the history after them."""
    with models.use(ask.run) as model:
        start = time.perf_counter()
        plane, train = _plane(model), model.fitted
        codes = train.items.encode(ask.history) if ask.history else np.empty(0, np.int32)
        shown = plane.popular[: ask.n]
        added = np.array([c for c in dict.fromkeys(codes.tolist()) if c >= 0], dtype=np.int64)
        shown = np.concatenate([shown, added[~np.isin(added, shown)]]).astype(np.int64)
        points = plane.points[shown]
        return {
            "items": train.items.decode(shown).tolist(),
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "popularity": train.item_counts[shown].tolist(),
            "explained": plane.explained,
            "model_ms": 1000 * (time.perf_counter() - start),
        }


def user_path(models: LoadedModels, ask: PathRequest) -> dict[str, Any]:
    """The user's vector on that plane: before and after every step where a model adapts, else one point."""
    if ask.values is not None and len(ask.values) != len(ask.history):
        raise Unsupported("values must give one number for every item of the history.")
    with models.use(ask.run) as model:
        plane, items = _plane(model), model.fitted.items
        usual = scale_of(model).like
        values = [usual] * len(ask.history) if ask.values is None else ask.values
        history, unknown = encode_histories(items, [ask.history], [values])
        shown, hidden = told(model, history)
        start = time.perf_counter()
        vectors = user_vectors(model, shown)
        ms = 1000 * (time.perf_counter() - start)
        points = plane.users(vectors)
        return {
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "adapts": bool(getattr(model, "adapts", False)),
            "unknown": unknown[0],
            "left_out": items.decode(history.items[hidden]).tolist(),
            "model_ms": ms,
        }


def item_vectors(model: Recommender) -> np.ndarray:
    """float (I, d). Raises Unsupported where a model keeps none, or no user in the same space."""
    vectors = getattr(model, "item_vectors", None)
    if vectors is None or not (getattr(model, "adapts", False) or hasattr(model, "user_vectors")):
        raise Unsupported(
            f"{model.label} does not place users and items in one space, so there is no map of it.",
            "Choose a model that learns vectors, such as ALS, or one that adapts.",
        )
    return np.asarray(vectors, dtype=np.float32)


def user_vectors(model: Recommender, history: Histories) -> np.ndarray:
    """float (points, d) of a history of one row."""
    if getattr(model, "adapts", False):
        return np.asarray(model.adapted_vectors(history))[0]
    return np.asarray(model.user_vectors(history))


def _plane(model: Recommender) -> Plane:
    with _lock:
        found = _planes.get(model)
    if found is None:  # the model's own lock is held, so no other thread works this one out
        found = Plane.of(item_vectors(model), model.fitted.item_counts)
        with _lock:
            _planes[model] = found
    return found


def _asker(model: Recommender) -> Asker:
    with _lock:
        found = _askers.get(model)
    if found is None:
        found = Asker.fit(model.fitted)
        with _lock:
            _askers[model] = found
    return found
