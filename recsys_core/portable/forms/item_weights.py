"""Scores as a sum of weights from the items of a history: EASE, item-to-item neighbours and all that is linear in a history."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Form, Stored
from ._entries import entries_of, filled, per_entry, popularity_of


class ItemWeights(Form):
    """score_j = Σ over the history of entry_i · weights_ij.

    settings: threshold; values: "ignore" (1 an item), "linear" or "log" (of what the values add up to); filled: items without any
    evidence follow all others, by popularity; decay, long_term: an entry counts long_term + (1 - long_term) · decay^age, and
    repeated items add up; similar_by: "column" (what speaks for an item) or, without a word, what it speaks for. Matrices: weights
    (M, M); modelled int64 (M,), the items in it, where not all are.
    """

    key = "item_weights"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.weights = stored.matrix("weights")
        self.n_items = len(stored.counts)
        self.modelled = stored.array("modelled") if stored.has("modelled") else None
        if self.modelled is not None:
            self.places = np.full(self.n_items, -1, np.int64)
            self.places[self.modelled] = np.arange(len(self.modelled))
        self.popularity = popularity_of(stored.counts)

    def entries(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        """(codes, entries): what each item of the history counts."""
        if "decay" not in self.settings:
            return entries_of(history, self.settings)
        kept = history.relevant(self.settings.get("threshold"))
        age, lasting = np.arange(len(kept) - 1, -1, -1), self.settings["long_term"]
        counted = (lasting + (1 - lasting) * self.settings["decay"] ** age.astype(np.float64)).astype(np.float32)
        return History(kept.items, counted).row(binary=False)

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        codes, entries = self.entries(history)
        if self.modelled is None:
            out = self.weights.weighted_sum(codes, entries)
        else:
            out, at = np.zeros(self.n_items, np.float32), self.places[codes]
            out[self.modelled] = self.weights.weighted_sum(at[at >= 0], entries[at >= 0])
        return filled(out, self.popularity) if self.settings.get("filled") else out

    def similar(self, item: int) -> np.ndarray:
        at = item if self.modelled is None else int(self.places[item])
        out = np.full(self.n_items, -np.inf, np.float32)
        if at >= 0:
            by_column = self.settings.get("similar_by") == "column"
            row = self.weights.column(at) if by_column else self.weights.take(np.array([at]))[0]
            linked = np.where(row > 0, row, -np.inf) if self.settings.get("filled") else row
            out[slice(None) if self.modelled is None else self.modelled] = linked
        return out

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool]:
        codes, entries = self.entries(history)
        to = item if self.modelled is None else int(self.places[item])
        rows = codes if self.modelled is None else self.places[codes]
        known = (rows >= 0) & (to >= 0)
        parts = np.zeros(len(codes), np.float32)
        parts[known] = entries[known] * self.weights.cells(rows[known], to)
        return per_entry(history, codes, parts), True
