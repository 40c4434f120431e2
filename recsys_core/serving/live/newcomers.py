"""Items by their columns, with numpy alone: where an item the model has never seen belongs, and what is like a few things chosen."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...portable.bundle import best_of
from ...portable.matrix import Sparse
from .records import cell_text

WORDS = re.compile(r"[^\W_]{2,}")
NEIGHBOURS, LEAST_LIKE, MOST_VALUES = 20, 0.05, 0.5

Vector = tuple[np.ndarray, np.ndarray]  # (places int32, weights float32) of a sparse unit vector


class Content:
    """TF-IDF over the words and categories of the item columns, one unit vector an item.

    A cell of several values ("Drama|War") gives one category each, a text its words; a column of numbers gives its values where they repeat
    (a year), else nothing. idf = log((1 + n) / (1 + items that have it)) + 1, as scikit-learn's. Items may be added one at a time; idf and
    vocabulary stay those of the model's items.
    Cost: once for all items, about 20 µs an item; an added item one product with all of them (20,000 items: 1 to 2 ms).
    """

    def __init__(self, table: Mapping[str, Sequence[Any]], n_items: int) -> None:
        self.n_items = n_items
        self.columns = {name: _kind(values) for name, values in table.items()}
        rows = [self._tokens({name: table[name][code] for name in table}) for code in range(n_items)]
        spread = Counter(token for row in rows for token in row)
        self._places = {token: place for place, token in enumerate(spread)}
        self._idf = np.array([math.log((1 + n_items) / (1 + n)) + 1 for n in spread.values()], np.float32)
        vectors = [self._weighed(row) for row in rows]
        self._known = _stacked(vectors, len(self._idf))
        self._later: list[Vector] = []
        self._codes: list[int] = []
        self._later_rows = self._known, 0  # (their matrix, how many are in it)
        self._near = np.empty(0, np.int64), np.empty((0, NEIGHBOURS), np.int32), np.empty((0, NEIGHBOURS), np.float32)

    def add(self, code: int, features: Mapping[str, Any]) -> None:
        """An item that came later, with its columns."""
        vector = self._weighed(self._tokens(features))
        near, like = self._neighbours(vector)
        padding = NEIGHBOURS - len(near)
        row = np.append(near, np.zeros(padding, np.int32)), np.append(like, np.zeros(padding, np.float32))
        n = len(self._codes)
        self._later.append(vector)
        self._codes.append(code)
        codes, places, likes = self._near if len(self._near[0]) > n else self._roomier(n)
        codes[n], places[n], likes[n] = code, *row
        self._near = codes, places, likes

    def likeness(self, codes: Sequence[int], n: int) -> np.ndarray:
        """float32 (n,): cosine of every item with the mean of these; 0 for items without columns."""
        profile = np.zeros(len(self._idf), np.float32)
        of = {code: place for place, code in enumerate(list(self._codes))}
        for code in codes:
            if code < self.n_items:
                profile += self._known.take(np.array([code]))[0]
            elif code in of:
                places, weights = self._later[of[code]]
                profile[places] += weights
        length = float(np.linalg.norm(profile))
        out = np.zeros(n, np.float32)
        if length > 0:
            out[: self.n_items] = self._known.dot(profile / length)
            later, count = self._added()
            if count:
                at = np.array(self._codes[:count])
                out[at[at < n]] = later.dot(profile / length)[at < n]
        return out

    def extended(self, scores: np.ndarray, n: int) -> np.ndarray:
        """float32 (n,): the scores of the model's items, and behind them those of later ones: the mean of the nearest known items' scores,
        weighted by likeness; -inf for an item that is like nothing."""
        out = np.full(n, -np.inf, np.float32)
        out[: len(scores)] = scores
        count = len(self._codes)
        codes, places, likes = (array[:count] for array in self._near)
        if count:
            found = scores[places]
            weights = np.where(np.isfinite(found), likes, 0)
            total = weights.sum(axis=1)
            there = (total > 0) & (codes < n)
            out[codes[there]] = (np.where(weights > 0, found, 0) * weights).sum(axis=1)[there] / total[there]
        return out

    def neighbours(self, code: int) -> tuple[np.ndarray, np.ndarray]:
        """(codes, cosines) of the known items nearest to one that came later, nearest first."""
        if code not in self._codes:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        at = self._codes.index(code)
        there = self._near[2][at] > 0
        return self._near[1][at][there], self._near[2][at][there]

    def _neighbours(self, vector: Vector) -> tuple[np.ndarray, np.ndarray]:
        profile = np.zeros(len(self._idf), np.float32)
        profile[vector[0]] = vector[1]
        like = self._known.dot(profile) if len(vector[0]) else np.zeros(self.n_items, np.float32)
        best, like = best_of(like, NEIGHBOURS)
        return best[like > LEAST_LIKE], like[like > LEAST_LIKE]

    def _roomier(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(np.concatenate([array, np.zeros((max(64, n), *array.shape[1:]), array.dtype)]) for array in self._near)  # type: ignore[return-value]

    def _added(self) -> tuple[Sparse, int]:
        """The vectors of later items as rows; made again when there are more."""
        if self._later_rows[1] != len(self._later):
            vectors = list(self._later)
            self._later_rows = _stacked(vectors, len(self._idf)), len(vectors)
        return self._later_rows

    def _weighed(self, tokens: Counter[str]) -> Vector:
        known = [(self._places[token], count) for token, count in tokens.items() if token in self._places]
        if not known:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        places = np.array([place for place, _ in known], np.int32)
        weights = np.array([count for _, count in known], np.float32) * self._idf[places]
        order = np.argsort(places)
        return places[order], (weights / np.linalg.norm(weights))[order]

    def _tokens(self, cells: Mapping[str, Any]) -> Counter[str]:
        found: Counter[str] = Counter()
        for name, cell in cells.items():
            kind = self.columns.get(name)
            if cell is None or kind is None:
                continue
            if kind == "text":
                found.update(f"{name}:{word}" for word in WORDS.findall(str(cell).lower()))
            else:
                found.update(f"{name}={part.strip().lower()}" for part in cell_text(cell).split("|") if part.strip())
        return found


def _stacked(vectors: Sequence[Vector], width: int) -> Sparse:
    indptr = np.concatenate([[0], np.cumsum([len(places) for places, _ in vectors], dtype=np.int64)]).astype(np.int64)
    places = np.concatenate([places for places, _ in vectors] or [np.empty(0, np.int32)])
    weights = np.concatenate([weights for _, weights in vectors] or [np.empty(0, np.float32)])
    return Sparse(indptr, places, weights, n_columns=width)


def _kind(values: Sequence[Any]) -> str | None:
    """ "category", "text", or None for a column of numbers that hardly repeat."""
    some = [value for value in values if value is not None]
    if not some:
        return None
    texts = [cell_text(value) for value in some]
    repeats = len(set(texts)) <= MOST_VALUES * len(texts)
    if all(isinstance(value, (int, float)) for value in some):
        return "category" if repeats else None
    parted = any("|" in text for text in texts[:1000])
    return "category" if parted or (repeats and max(map(len, texts)) <= 60) else "text"
