"""Scores as a sum of weights from the items of a history: EASE, item-to-item neighbours and all that is linear in a history."""

from __future__ import annotations

import numpy as np

from ..history import History
from ._base import Form, Stored


class ItemWeights(Form):
    """score_j = Σ over the history of entry_i · weights_ij.

    settings: threshold; values: "ignore" (1 an item), "linear" or "log" (of what the values add up to); filled: items without any
    evidence follow all others, by popularity; decay, long_term: an entry counts long_term + (1 - long_term) · decay^age, and
    repeated items add up. Matrices: weights (M, M); modelled int64 (M,), the items in it, where not all are.
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
        self.popularity = stored.counts / max(1.0, float(stored.counts.max(initial=0)))

    def entries(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        """(codes, entries): what each item of the history counts."""
        kept = history.relevant(self.settings.get("threshold"))
        if "decay" in self.settings:
            age = np.arange(len(kept) - 1, -1, -1)
            lasting = self.settings["long_term"]
            counted = (lasting + (1 - lasting) * self.settings["decay"] ** age.astype(np.float64)).astype(np.float32)
            return History(kept.items, counted).row(binary=False)
        values = self.settings.get("values", "ignore")
        codes, entries = kept.row(binary=values == "ignore")
        if values != "ignore":
            entries = np.maximum(entries, 0)
        return codes, np.log1p(entries) if values == "log" else entries

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        codes, entries = self.entries(history)
        if self.modelled is None:
            out = self.weights.weighted_sum(codes, entries)
        else:
            out, at = np.zeros(self.n_items, np.float32), self.places[codes]
            out[self.modelled] = self.weights.weighted_sum(at[at >= 0], entries[at >= 0])
        return self._filled(out) if self.settings.get("filled") else out

    def _filled(self, scores: np.ndarray) -> np.ndarray:
        unit = max(float(scores.max(initial=0)) * 1e-3, 0.0) or 1.0
        return np.where(scores > 0, scores, (self.popularity - 1 - 1e-6) * np.float32(unit)).astype(np.float32)

    def similar(self, item: int) -> np.ndarray:
        at = item if self.modelled is None else int(self.places[item])
        out = np.full(self.n_items, -np.inf, np.float32)
        if at >= 0:
            row = self.weights.take(np.array([at]))[0]
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
        at = np.searchsorted(codes, history.items).clip(max=max(0, len(codes) - 1))
        there = codes[at] == history.items if len(codes) else np.zeros(len(history), bool)
        times = np.bincount(at[there], minlength=len(codes)).clip(1) if len(codes) else np.ones(0)
        return np.where(there, parts[at] / times[at], 0) if len(codes) else np.zeros(len(history)), True
