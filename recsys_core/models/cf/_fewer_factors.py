"""Factor models with fewer factors: the directions that say least go, and users are found again in what is left."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from ...context import QUIET
from .._pruning import kept_of

if TYPE_CHECKING:
    from ._factors import FactorModel


def with_fewer_factors(model: FactorModel, share: float) -> FactorModel:
    """A copy with this share of the factors taken out; the model itself stays as it is.

    Item vectors y become y R, R (F, k) with orthonormal columns, so penalties on lengths mean what they meant and fold-in works as before.
    User vectors that fold-in gives are solved again beside the new item vectors; learnt ones become x R.
    """
    turn = model._turn_to(kept_of(model.item_factors.shape[1], share)).astype(np.float32)
    pruned = copy.copy(model)
    pruned._turned(turn)
    pruned._learned(model.user_factors @ turn, model.item_factors @ turn, model.item_bias)
    if model.users_are_solved:
        pruned._learned(pruned._solved_users(model.fitted, QUIET), pruned.item_factors, model.item_bias)
    return pruned


def principal(users: np.ndarray, items: np.ndarray, keep: int) -> np.ndarray:
    """(F, k): orthonormal directions along which the products of users and items say most.

    Differs: the best rank-k approximation of all products (Eckart & Young 1936) needs a different turn on either side; one turn for both
    keeps lengths. Its axes are those of the geometric mean of XᵀX and YᵀY (Bhatia 2007, Positive Definite Matrices, 4.1): along an axis,
    what users vary times what items vary. Where both matrices have the same axes, as at the optimum of a factorisation with equal
    penalties on both sides, this is the best approximation. Cost: (U + I) × F² + F³.
    """
    of_users, of_items = (side.astype(np.float64).T @ side.astype(np.float64) / max(1, len(side)) for side in (users, items))
    half, inverse = _power(of_users, 0.5), _power(of_users, -0.5)
    mean = half @ _power(inverse @ of_items @ inverse, 0.5) @ half
    size, axes = np.linalg.eigh(mean + mean.T)
    return axes[:, np.argsort(-size, kind="stable")[:keep]]


def _power(square: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a symmetric, positive matrix; what is next to nothing counts as a billionth of the largest."""
    size, axes = np.linalg.eigh((square + square.T) / 2)
    return (axes * np.maximum(size, max(float(size[-1]) * 1e-9, 1e-30)) ** exponent) @ axes.T


def strongest(users: np.ndarray, items: np.ndarray, keep: int) -> np.ndarray:
    """(F, k): the factors that add most to the scores, as they are: what must stay non-negative cannot be turned."""
    says = np.square(users).mean(0, dtype=np.float64) * np.square(items).mean(0, dtype=np.float64)
    return np.eye(len(says))[:, np.sort(np.argsort(-says, kind="stable")[:keep])]


def beside_a_constant(users: np.ndarray, items: np.ndarray, keep: int) -> np.ndarray:
    """(F, k): `principal` of all but the last factor, which is the same for all items and stays."""
    turn = np.zeros((items.shape[1], max(2, keep)))
    turn[:-1, :-1] = principal(users[:, :-1], items[:, :-1], max(1, keep - 1))
    turn[-1, -1] = 1
    return turn
