"""What the factor models share: an item is a vector, a user is one, learnt or found from a history; the score is their product."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import numpy as np

from ..history import History
from ..matrix import Dense, Matrix
from ..vectors import cosine_to_all
from ._base import Form, Stored
from ._entries import per_entry

BLOCK_ROWS = 4096


class Factors(Form):
    """score_j = x · items_j + bias_j. A form writes `fold_in`: x from a history.

    Matrices: items (I, F); bias float32 (I,), where items have one; users (U, F), the vectors of training users, left out of a bundle
    made without users: their vectors are then found from their histories. settings: constant: the last number of an item's vector
    carries the user's bias and says nothing of the item.
    """

    has_shares = False  # x is linear in the entries: `parts`

    def __init__(self, stored: Stored) -> None:
        super().__init__(stored)
        self.items = stored.matrix("items")
        self.bias = stored.array("bias") if stored.has("bias") else None
        self.users = stored.matrix("users") if stored.has("users") else None

    @abstractmethod
    def fold_in(self, history: History) -> np.ndarray:
        """float (F,): the vector of a user from their history, which is not empty."""

    def parts(self, item: int, history: History) -> tuple[np.ndarray, np.ndarray]:
        """(codes, parts): what each item of the history adds to the score of one."""
        raise NotImplementedError

    def scores(self, history: History, user: int = -1) -> np.ndarray:
        learnt = user >= 0 and self.users is not None
        out = self.items.dot(self.users.take(np.array([user]))[0] if learnt else self.fold_in(history))
        return out if self.bias is None else out + self.bias

    def vector(self, history: History) -> np.ndarray:
        found = np.asarray(self.fold_in(history), np.float32)
        return found if self.bias is None else np.append(found, np.float32(1))

    @cached_property
    def item_matrix(self) -> Matrix:
        return self.items if self.bias is None else Dense(np.column_stack([self.items.take(slice(None)), self.bias]))

    def similar(self, item: int) -> np.ndarray:
        return cosine_to_all(self._compared, self._lengths, item)

    def shares(self, item: int, history: History) -> tuple[np.ndarray, bool] | None:
        if not self.has_shares:
            return None
        return per_entry(history, *self.parts(item, history)), True

    @cached_property
    def _compared(self) -> Matrix:
        return Dense(np.ascontiguousarray(self.items.take(slice(None))[:, :-1])) if self.settings.get("constant") else self.items

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.linalg.norm(self._compared.take(slice(None)), axis=1)


def gram_of(items: Matrix) -> np.ndarray:
    """float64 (F, F): itemsᵀ · items, block by block. Worked out from what is stored, so that it fits vectors stored narrow."""
    out = np.zeros((items.shape[1], items.shape[1]))
    for start in range(0, items.shape[0], BLOCK_ROWS):
        block = items.take(slice(start, start + BLOCK_ROWS)).astype(np.float64)
        out += block.T @ block
    return out


def ridge_system(gram: np.ndarray, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 (F, F): gram + Σ w_j y_j y_jᵀ over the rows y of vectors (n, F), products in float32."""
    return gram + ((vectors * weights.astype(np.float32)[:, None]).T @ vectors).astype(np.float64)
