"""What people with a similar history chose."""

from __future__ import annotations

import numpy as np

from ..bundle import best_of
from ..history import History
from ..matrix import Sparse
from ._base import Form, Stored
from ._entries import entries_of, filled, per_entry, popularity_of


class UserNeighbours(Form):
    """score_j = Σ over the nearest users of likeness · vote_j; likeness = product of the weighted rows / (lengths + shrinkage).

    settings: threshold, values; scheme: "none", "idf", "tfidf" or "bm25" with k1, b, mean_length; scale; lean, shrinkage, neighbours.
    Matrices: votes (U, I), idf (I,). Cost: the users of the history's items; memory: votes three times.
    """

    key = "user_knn"

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.votes, self.idf = stored.matrix("votes"), stored.array("idf")
        n_users, n_items = self.votes.shape
        row = np.repeat(np.arange(n_users), np.diff(self.votes.indptr))
        said = self.votes.data.astype(np.float32)
        sums = np.bincount(row, said, minlength=n_users)
        weighted = self._weighed(said, self.votes.indices, sums[row])
        self.norms = np.sqrt(np.bincount(row, weighted.astype(np.float64) ** 2, minlength=n_users)).astype(np.float32)
        self.users = Sparse(self.votes.indptr, self.votes.indices, weighted, n_items)
        order = np.argsort(self.votes.indices, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.votes.indices, minlength=n_items))])
        self.by_item = Sparse(starts, row[order].astype(np.int32), weighted[order], n_users)
        self.of_other = self.norms ** (2 - 2 * self.settings["lean"])
        self.popularity = popularity_of(stored.counts)

    def _weighed(self, entries: np.ndarray, codes: np.ndarray, sums: np.ndarray | float) -> np.ndarray:
        """float32: entries of rows that add up to `sums`, by the scheme."""
        s, term = self.settings, self.idf[codes]
        if s["scheme"] == "idf":
            entries = entries * np.sqrt(term)
        elif s["scheme"] == "tfidf":
            entries = np.sqrt(entries) * term
        elif s["scheme"] == "bm25":
            length = np.asarray(sums, np.float32) / max(s["mean_length"], 1e-9)
            entries = entries * (s["k1"] + 1) / (s["k1"] * (1 - s["b"] + s["b"] * length) + entries) * term
        return entries.astype(np.float32) * np.float32(s["scale"])

    def _row(self, history: History) -> tuple[np.ndarray, np.ndarray]:
        codes, entries = entries_of(history, self.settings)
        return codes, self._weighed(entries, codes, float(entries.sum()))

    def _nearest(self, codes: np.ndarray, row: np.ndarray, user: int) -> tuple[np.ndarray, np.ndarray]:
        """(users, likenesses), best first; ties by code. Summed in float32, item after item, as the model does: near ties stay ties."""
        dots = np.zeros(len(self.norms), np.float32)
        of, users, values = self.by_item.entries(codes)
        np.add.at(dots, users, row[of] * values)
        own = np.float32(np.sqrt((row.astype(np.float64) ** 2).sum())) ** (2 * self.settings["lean"])
        alike = dots / (own * self.of_other + self.settings["shrinkage"]) if own > 0 else dots
        alike = np.where(alike > 0, alike, -np.inf)
        if user >= 0:
            alike[user] = -np.inf
        return best_of(alike, self.settings["neighbours"])

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        codes, row = self._row(history)
        return filled(self.votes.weighted_sum(*self._nearest(codes, row, user)), self.popularity)

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool]:
        codes, row = self._row(history)
        near, alike = self._nearest(codes, row, -1)
        votes = alike * self.votes.cells(near, item)
        near, votes = near[votes != 0], votes[votes != 0]
        # A likeness is a sum over shared items: each takes its part of the product of the two rows.
        full = np.zeros(self.votes.shape[1], np.float32)
        full[codes] = row
        of, columns, values = self.users.entries(near)
        dots = np.bincount(of, values * full[columns], minlength=len(near))
        share = np.bincount(columns, values * (votes / np.maximum(dots, 1e-12))[of], minlength=self.votes.shape[1])
        return per_entry(history, codes, row * share[codes]), True
