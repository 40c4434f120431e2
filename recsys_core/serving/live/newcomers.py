"""Items by their columns, with numpy alone: where an item the model has never seen belongs, and what is like a few things chosen."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...portable.matrix import Sparse

WORDS = re.compile(r"[^\W_]{2,}")
NEIGHBOURS, LEAST_LIKE, MOST_VALUES = 20, 0.05, 0.5


class Content:
    """TF-IDF over the words and categories of the item columns, one unit vector an item.

    A cell of several values ("Drama|War") gives one category each, a text its words; a column of numbers gives its values where they repeat
    (a year), else nothing. idf = log((1 + n) / (1 + items that have it)) + 1, as scikit-learn's. Items may be added; idf stays as it was.
    """

    def __init__(self, table: Mapping[str, Sequence[Any]], n_items: int) -> None:
        self.columns = {name: _kind(values) for name, values in table.items()}
        rows = [self._tokens({name: table[name][code] for name in table}) for code in range(n_items)]
        spread = Counter(token for row in rows for token in row)
        self._places = {token: place for place, token in enumerate(spread)}
        self._idf = np.array([math.log((1 + n_items) / (1 + n)) + 1 for n in spread.values()], np.float32)
        self._indptr, self._indices, self._data = [0], [], []
        for row in rows:
            self._append(row)
        self._matrix: Sparse | None = None

    def __len__(self) -> int:
        return len(self._indptr) - 1

    def add(self, features: Mapping[str, Any] | None) -> int:
        """Append an item (None: nothing is known of it); its place."""
        self._append(Counter() if features is None else self._tokens(features))
        self._matrix = None
        return len(self) - 1

    def replace_last_of(self, place: int, features: Mapping[str, Any]) -> None:
        """Give an added item its columns later."""
        start, stop = self._indptr[place], self._indptr[place + 1]
        places, weights = self._weighed(self._tokens(features))
        self._indices[start:stop], self._data[start:stop] = places, weights
        grew = len(places) - (stop - start)
        self._indptr[place + 1 :] = [at + grew for at in self._indptr[place + 1 :]]
        self._matrix = None

    def likeness(self, places: Sequence[int], weights: Sequence[float] | None = None) -> np.ndarray:
        """float32 (n,): cosine of every item with the (weighted) mean of these."""
        matrix = self._rows
        places = np.asarray(places, np.int64)
        profile = matrix.weighted_sum(places, np.ones(len(places)) if weights is None else np.asarray(weights))
        length = float(np.linalg.norm(profile))
        return matrix.dot(profile / length) if length > 0 else np.zeros(len(self), np.float32)

    def neighbours(self, place: int, among: int) -> tuple[np.ndarray, np.ndarray]:
        """(places, cosines) of the nearest of the first `among` items."""
        like = self.likeness([place])[:among]
        like[place : place + 1] = 0
        best = np.argsort(-like, kind="stable")[:NEIGHBOURS]
        best = best[like[best] > LEAST_LIKE]
        return best, like[best]

    @property
    def _rows(self) -> Sparse:
        if self._matrix is None:
            arrays = np.array(self._indptr), np.array(self._indices, np.int32), np.array(self._data, np.float32)
            self._matrix = Sparse(*arrays, n_columns=len(self._idf))
        return self._matrix

    def _append(self, tokens: Counter[str]) -> None:
        places, weights = self._weighed(tokens)
        self._indices += places
        self._data += weights
        self._indptr.append(len(self._indices))

    def _weighed(self, tokens: Counter[str]) -> tuple[list[int], list[float]]:
        known = [(self._places[token], count) for token, count in tokens.items() if token in self._places]
        if not known:
            return [], []
        places = np.array([place for place, _ in known])
        weights = np.array([count for _, count in known]) * self._idf[places]
        order = np.argsort(places)
        return places[order].tolist(), (weights / np.linalg.norm(weights))[order].tolist()

    def _tokens(self, cells: Mapping[str, Any]) -> Counter[str]:
        found: Counter[str] = Counter()
        for name, cell in cells.items():
            kind = self.columns.get(name)
            if cell is None or kind is None:
                continue
            if kind == "text":
                found.update(f"{name}:{word}" for word in WORDS.findall(str(cell).lower()))
            else:
                found.update(f"{name}={part.strip().lower()}" for part in _plain(cell).split("|") if part.strip())
        return found


def _kind(values: Sequence[Any]) -> str | None:
    """ "category", "text", or None for a column of numbers that hardly repeat."""
    some = [value for value in values if value is not None]
    if not some:
        return None
    texts = [_plain(value) for value in some]
    repeats = len(set(texts)) <= MOST_VALUES * len(texts)
    if all(isinstance(value, (int, float)) for value in some):
        return "category" if repeats else None
    parted = any("|" in text for text in texts[:1000])
    return "category" if parted or (repeats and max(map(len, texts)) <= 60) else "text"


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
