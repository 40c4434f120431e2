"""Taking out what a trained network can do without: whole units and factors, so that less is stored and multiplied.

Single weights set to zero would buy neither time nor bytes on a CPU. Nothing is trained again: what takes the place of the missing
units is found by least squares on what the training histories bring about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

RIDGE = 1e-4  # of the mean of the Gram matrix' diagonal: units that hardly ever differ do not blow up a weight


def kept_of(n: int, share: float, multiple: int = 1) -> int:
    """How many of n units stay when a share is taken out: a multiple of `multiple`, at least one of it."""
    return max(multiple, round(n * (1 - share) / multiple) * multiple)


def strongest(active: np.ndarray, weight: np.ndarray, keep: int) -> np.ndarray:
    """int64 (keep,), ascending: the units that move what they feed most: spread over the histories × length of their weights.

    Shapes: active (n, d), what d units give for n histories; weight (o, d), of the layer they feed.
    """
    says = active.std(0) * np.linalg.norm(weight, axis=0)
    return np.sort(np.argsort(-says, kind="stable")[:keep])


def refitted(active: np.ndarray, weight: np.ndarray, bias: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weight (o, k), bias (o,)) of a layer fed by the kept units alone that comes closest to what it gave with all of them.

    Source: least squares on the covariance of the units, as in Optimal Brain Surgeon's structured kin (Frantar & Alistarh 2022,
    https://arxiv.org/abs/2208.11580). Cost: n · d² + d³ + o · d · k, whatever the number of outputs.
    """
    mean, covariance = _moments(active)
    weight = weight.astype(np.float64)
    new = np.linalg.solve(covariance[np.ix_(kept, kept)], covariance[kept] @ weight.T).T
    return new.astype(np.float32), (bias + weight @ mean - new @ mean[kept]).astype(np.float32)


def best_factors(active: np.ndarray, weight: np.ndarray, bias: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(turn (d, k), weight (o, k), bias (o,)): active @ turn, then the new layer, is the closest of rank k to the layer as it was.

    Source: principal components of the layer's output (Eckart & Young 1936), found in the space of the d units: o may be large.
    Cost: n · d² + o · d² + d³.
    """
    mean, covariance = _moments(active)
    weight = weight.astype(np.float64)
    values, vectors = np.linalg.eigh(covariance)
    half = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    values, vectors = np.linalg.eigh(half @ (weight.T @ weight) @ half)
    largest = np.argsort(-values, kind="stable")[:keep]
    directions = weight @ (half @ vectors[:, largest]) / np.sqrt(np.maximum(values[largest], 1e-30))  # (o, k), orthonormal
    turn = weight.T @ directions
    return turn.astype(np.float32), directions.astype(np.float32), (bias + weight @ mean - directions @ (mean @ turn)).astype(np.float32)


def regressed(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weight (o, k), bias (o,)) of the layer that comes closest to the targets. Shapes: inputs (n, k), targets (n, o)."""
    mean, covariance = _moments(inputs)
    centred = inputs.astype(np.float64) - mean
    weight = np.linalg.solve(covariance, centred.T @ targets / len(inputs)).T
    return weight.astype(np.float32), (targets.mean(0) - weight @ mean).astype(np.float32)


def common_factors(left: np.ndarray, right: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """(a (d, k), b (d, k)): (left @ a) @ (right @ b).T is the closest of rank k to left @ right.T. Shapes: (n, d) each."""
    roots, inverse = [], []
    for side in (left, right):
        values, vectors = np.linalg.eigh(side.T.astype(np.float64) @ side / len(side))
        values = np.maximum(values, max(1e-9 * float(values.max()), 1e-12))
        roots.append((vectors * np.sqrt(values)) @ vectors.T)
        inverse.append((vectors / np.sqrt(values)) @ vectors.T)
    u, s, vt = np.linalg.svd(roots[0] @ roots[1])
    root = np.sqrt(s[:keep])
    return inverse[0] @ (u[:, :keep] * root), inverse[1] @ (vt[:keep].T * root)


def linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A layer of these weights (o, i)."""
    import torch
    from torch import nn

    made = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        made.weight.copy_(torch.as_tensor(weight))
        made.bias.copy_(torch.as_tensor(bias))
    return made.eval()


def _moments(active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean (d,), covariance (d, d)) in double precision, with a small ridge."""
    active = active.astype(np.float64)
    mean = active.mean(0)
    centred = active - mean
    covariance = centred.T @ centred / len(active)
    return mean, covariance + np.eye(len(mean)) * max(RIDGE * np.trace(covariance) / len(mean), 1e-12)
