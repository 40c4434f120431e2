"""EASE with more interactions, without inverting its matrix again: the inverse changes by as many directions as users changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ...context import RunContext
from ...data.dataset import Dataset
from ...errors import Unsupported
from .._updating import changed_users
from ._neighbours import positives

if TYPE_CHECKING:
    from ._ease import ClosedForm

PAYS_UP_TO = 1 / 50  # changed users for every item; at 1,700 items never, at 6,000 by a fifth, and by more the larger the catalogue
BLOCK = 512  # directions taken in at once: three matrices (M, BLOCK) of doubles stand in memory beside the inverse


def updated_weights(model: ClosedForm, before: Dataset, ctx: RunContext) -> np.ndarray:
    """float32 (M, M): what `fit` on `model.fitted` would give with the same regularization; `model._weights` are those of `before`.

    Source: Woodbury's identity, (A + V C Vᵀ)⁻¹ = P - P V (C⁻¹ + Vᵀ P V)⁻¹ Vᵀ P, on A = XᵀX + λ with P its inverse. A user whose row goes
    from x to y adds y yᵀ - x xᵀ; with denoising, an item whose count moves changes its diagonal.
    Shapes: P (M, M) float64, V (M, BLOCK). Cost: M² multiplications for each of two directions a user; 8 bytes × M² of memory.
    """
    params, data, modelled = model.resolved, model.fitted, model._modelled
    old, new = positives(before, params.values).copy(), positives(data, params.values)
    old.resize(new.shape)
    if modelled is not None:
        old, new = old[:, modelled], new[:, modelled]
    extra = params.dropout / (1 - params.dropout)
    inverse = _grown(_inverse(model, old[: before.n_users, : len(model._weights)], extra), new.shape[1], params.regularization)
    users = changed_users(before, data)
    x, y = old[users], new[users]
    directions, signs = [x, y], [np.full(len(users), -1.0), np.ones(len(users))]
    if extra:
        moved = extra * (np.asarray(y.power(2).sum(axis=0)) - np.asarray(x.power(2).sum(axis=0))).ravel()
        at = np.flatnonzero(moved)
        directions.append(sparse.csr_matrix((np.ones(len(at)), (np.arange(len(at)), at)), shape=(len(at), new.shape[1])))
        signs.append(moved[at])
    rows, sign = sparse.csr_matrix(sparse.vstack(directions, format="csr")), np.concatenate(signs)
    some = np.flatnonzero(np.diff(rows.indptr))
    # Old and new row of one user side by side: no block may end between taking one out and putting the other in.
    order = some[np.argsort(np.where(some < 2 * len(users), some % max(1, len(users)), some), kind="stable")]
    for start in range(0, len(order), BLOCK):
        ctx.report("Taking in what came since", start / len(order))
        block = rows[order[start : start + BLOCK]].toarray().astype(np.float64)
        reached = block @ inverse  # (b, M)
        core = np.diag(1 / sign[order[start : start + BLOCK]]) + reached @ block.T
        inverse -= reached.T @ np.linalg.solve(core, reached)
    diagonal = np.arange(len(inverse))
    weights = (inverse * (-1 / inverse[diagonal, diagonal])[None, :]).astype(np.float32)
    weights[diagonal, diagonal] = 0
    if not np.isfinite(weights).all():
        raise Unsupported(f"{model.label} could not take in these interactions: its matrix became singular.", "Train it again.")
    return weights


def pays(before: Dataset, after: Dataset) -> bool:
    """Whether so few users changed that this is quicker than inverting again."""
    return len(changed_users(before, after)) <= PAYS_UP_TO * after.n_items


def _inverse(model: ClosedForm, matrix: sparse.csr_matrix, extra: float) -> np.ndarray:
    """float64 (M, M): the inverse the weights came from, where nothing but interactions makes up A.

    B_ij = -P_ij / P_jj, and P_jj follows from row j of A times column j of P being 1.
    """
    weights = model._weights.astype(np.float64)
    squares = np.asarray(matrix.power(2).sum(axis=0)).ravel()
    # Σ_i A_ji B_ij = Σ_u x_uj (x_u · B_.j), users in blocks; the diagonal of B is 0
    products, step = np.zeros(len(weights)), max(1, 2**22 // max(1, len(weights)))
    for start in range(0, matrix.shape[0], step):
        part = matrix[start : start + step]
        products += np.asarray(part.multiply(part @ weights).sum(axis=0)).ravel()
    own = squares * (1 + extra) + model.resolved.regularization
    diagonal = 1 / (own - products)
    inverse = -weights * diagonal[None, :]
    inverse[np.arange(len(weights)), np.arange(len(weights))] = diagonal
    return (inverse + inverse.T) / 2  # float32 rounding made it slightly unsymmetric


def _grown(inverse: np.ndarray, n: int, regularization: float) -> np.ndarray:
    """With rows for items nobody had yet: nothing but the regularization on their diagonal."""
    size = len(inverse)
    if n == size:
        return inverse
    out = np.zeros((n, n))
    out[:size, :size] = inverse
    out[np.arange(size, n), np.arange(size, n)] = 1 / regularization
    return out
