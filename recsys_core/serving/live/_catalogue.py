"""The items a predictor knows: those of the model, and after them those that came later."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...portable.bundle import Bundle
from .filters import ItemFilters
from .newcomers import Content
from .records import Filters

MOST_NEW = 100_000  # items that came later; ids that are made up must not fill the memory
TEXT_EACH = 640  # characters of their columns, an item in the mean


class Catalogue:
    """Item codes beyond the model's are given in the order of the log. What needs the item columns is made when it is first asked for: a
    bundle without new items never pays for it. most_new: items that are given one. `code` is called under the predictor's lock, everything
    else from any thread."""

    def __init__(self, bundle: Bundle, most_new: int = MOST_NEW) -> None:
        self._bundle, self.most_new, self.most_text = bundle, most_new, TEXT_EACH * most_new
        self._features: dict[int, Mapping[str, Any]] = {}  # of later items, by code
        self._text = 0  # characters in them
        self._content: Content | None = None
        self._filters: ItemFilters | None = None
        self._making = threading.RLock()

    def code(self, item: str, features: Mapping[str, Any] | None = None) -> int:
        """The code of an item, which is given one if it has none; -1 where no more can be taken. features count only for items the model
        does not know, and only the first ones."""
        items, known = self._bundle.items, self._bundle.n_items
        code = items.code(item)
        if code < 0:
            if self.full:
                return -1
            code = items.add(item)
        if features and code >= known and code not in self._features and self._text < self.most_text:
            features = {name: features[name] for name in self._bundle.table if name in features}  # no other says anything of it
            with self._making:
                self._text += sum(len(str(cell)) for cell in features.values())
                self._features[code] = features
                if self._content is not None:
                    self._content.add(code, features)
                if self._filters is not None:
                    self._filters.add(code, features)
        return code

    @property
    def full(self) -> bool:
        """Whether no more items can be taken."""
        return len(self._bundle.items) - self._bundle.n_items >= self.most_new

    def left_out(self, item: str, features: Mapping[str, Any] | None) -> str:
        """What of an event on this item is not made use of, as a sentence; usually nothing."""
        code = self._bundle.items.code(item)
        if code < 0:
            return f"The item is on no list: all {self.most_new:,} places for items that came after training are taken."
        if features and code >= self._bundle.n_items and self._bundle.table and code not in self._features:
            return "The columns of the item are not made use of: there is no more room for columns of items that came after training."
        return ""

    def features(self, code: int) -> Mapping[str, Any] | None:
        """The columns an item came with, if it came later and brought any."""
        return self._features.get(code)

    @property
    def content(self) -> Content | None:
        """None where the bundle has no columns."""
        if self._content is None and self._bundle.table:
            with self._making:
                if self._content is None:
                    made = Content(self._bundle.table, self._bundle.n_items)
                    for code, features in self._features.items():
                        made.add(code, features)
                    self._content = made
        return self._content

    def likeness(self, codes: Sequence[int], n: int) -> np.ndarray | None:
        """float32 (n,): cosine of every item's columns with the mean of these; None where the bundle has no columns."""
        content = self.content
        return None if content is None else content.likeness(codes, n)

    def extended(self, scores: np.ndarray, n: int) -> np.ndarray:
        """The model's scores, and behind them those of later items (`Content.extended`); an item without columns gets none."""
        if n <= len(scores):
            return scores
        if self._features and (content := self.content) is not None:
            return content.extended(scores, n)
        return np.concatenate([scores, np.full(n - len(scores), -np.inf, np.float32)])

    def allowed(self, filters: Filters, n: int) -> np.ndarray:
        """bool (n,) of the items that pass."""
        if self._filters is None:
            with self._making:
                if self._filters is None:
                    made = ItemFilters(self._bundle.table, self._bundle.n_items)
                    for code, features in self._features.items():
                        made.add(code, features)
                    self._filters = made
        return self._filters.allowed(filters, n, self._bundle.items.code)
