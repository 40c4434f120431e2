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
    """(F, k): orthonormal directions along which products of users and items differ most.

    Differs: the best rank-k approximation of all products (Eckart & Young 1936) needs a different turn on either side; one turn for both
    keeps lengths. Its axes are those of XᵀX · YᵀY, made symmetric. At the optimum of a factorisation with equal penalties on both sides
    the two matrices have the same axes, and the two agree. Cost: (U + I) × F² + F³.
    """
    of_users, of_items = (side.astype(np.float64).T @ side.astype(np.float64) / max(1, len(side)) for side in (users, items))
    product = of_users @ of_items
    size, axes = np.linalg.eigh(product + product.T)
    return axes[:, np.argsort(-size, kind="stable")[:keep]]


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
