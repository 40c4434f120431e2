"""The plane on which a model's items and users are drawn: the two directions in which its item vectors differ most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PLANE_ITEMS = 2_000  # the most popular items lay the plane, so that it does not turn with how many are shown


@dataclass(frozen=True, eq=False)
class Plane:
    """points: (I, 2) of the items. popular: (I,) item codes, most popular first. centre (d,), axes (d, 2): what vectors are projected
    on. explained: share of the spread of the items that laid the plane which is seen on it."""

    points: np.ndarray
    popular: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    explained: float

    @classmethod
    def of(cls, vectors: np.ndarray, counts: np.ndarray) -> Plane:
        """Principal components of the directions of the item vectors (lengths, which mostly say how popular an item is, left out).

        Shapes: vectors (I, d), counts (I,). Cost: one SVD of (2,000, d).
        """
        popular = np.argsort(-np.asarray(counts), kind="stable")
        units = unit(vectors)
        laid = units[popular[:PLANE_ITEMS]].astype(np.float64)
        centre = laid.mean(axis=0)
        _, sizes, found = np.linalg.svd(laid - centre, full_matrices=False)
        axes = np.zeros((units.shape[1], 2))
        axes[:, : min(2, len(found))] = found[:2].T
        axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)  # the sign of an axis is chance: always the same one
        spread = float((sizes**2).sum())
        share = float((sizes[:2] ** 2).sum() / spread) if spread > 0 else 0.0
        return cls((units - centre) @ axes, popular, centre, axes, share)

    def users(self, vectors: np.ndarray) -> np.ndarray:
        """(n, 2) points of user vectors: scaled to the length of the item vectors here (1), else they would lie far outside or in
        the middle of the items; so the place says which way a user looks, not how far. A zero vector lies in the middle."""
        somewhere = np.any(vectors != 0, axis=1, keepdims=True)
        return (unit(vectors) - np.where(somewhere, self.centre, 0)) @ self.axes


def unit(vectors: np.ndarray) -> np.ndarray:
    """float32, rows of length 1 (zero rows stay)."""
    vectors = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
