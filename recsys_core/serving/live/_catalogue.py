"""The items a predictor knows: those of the model, and after them those that came later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...portable.bundle import Bundle
from .filters import ItemFilters
from .newcomers import Content
from .records import Filters


class Catalogue:
    """Item codes beyond the model's are given in the order of the log, so that all who read it agree. What needs the item columns is made
    when it is first asked for: a bundle without new items never pays for it."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._features: dict[int, Mapping[str, Any]] = {}  # of newer items, by code
        self._content: Content | None = None
        self._filters: ItemFilters | None = None
        self._near: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def code(self, item: str, features: Mapping[str, Any] | None = None) -> int:
        """The code of an item, which is given one if it has none. features count only for items the model does not know."""
        items = self._bundle.items
        before = len(items)
        code = items.add(item)
        if code >= self._bundle.n_items and (features or code == before):
            fresh = bool(features) and code not in self._features
            if features and fresh:
                self._features[code] = dict(features)
            if code == before or fresh:  # made again with the new item when next asked for
                self._content, self._filters = None, None
                self._near.clear()
        return code

    def likeness(self, codes: Sequence[int]) -> np.ndarray | None:
        """float32 (all items,): cosine of every item's columns with the mean of these; None where the bundle has no columns."""
        content = self.content
        return None if content is None else content.likeness([code for code in codes if code < len(content)])

    @property
    def content(self) -> Content | None:
        if self._content is None and self._bundle.table:
            made = Content(self._bundle.table, self._bundle.n_items)
            for code in range(self._bundle.n_items, len(self._bundle.items)):
                made.add(self._features.get(code))
            self._content = made
        return self._content

    def extended(self, scores: np.ndarray, n: int) -> np.ndarray:
        """The model's scores, and behind them those of newer items: the mean of their nearest known items, weighted by likeness. An item
        without columns, or like nothing, gets no score."""
        known = len(scores)
        if n <= known:
            return scores
        out = np.full(n, -np.inf, np.float32)
        out[:known] = scores
        for code in self._features:
            if code < n:
                near, like = self._neighbours(code)
                some = np.isfinite(scores[near])
                if some.any():
                    out[code] = np.average(scores[near][some], weights=like[some])
        return out

    def _neighbours(self, code: int) -> tuple[np.ndarray, np.ndarray]:
        if code not in self._near:
            content = self.content
            nothing = np.empty(0, np.int64), np.empty(0, np.float32)
            self._near[code] = nothing if content is None else content.neighbours(code, self._bundle.n_items)
        return self._near[code]

    def allowed(self, filters: Filters, n: int) -> np.ndarray | None:
        """bool (n,) of the items that pass; None for all."""
        if self._filters is None:
            made = ItemFilters(self._bundle.table)
            for code in range(self._bundle.n_items, len(self._bundle.items)):
                made.add(code, self._features.get(code))
            self._filters = made
        return self._filters.allowed(filters, n, self._bundle.items.code)
