"""From scores of items that have interactions to scores of items that have none: regressions on the items' features.

Any model's scores of warm items S (B, n) are a product of user and item vectors, s_ui = p_u · q_i. A ridge regression of q on
features f gives q_new = q̄ + Σ_i D_i (q_i - q̄) (f_i - f̄)ᵀ (ΣDff + λ)⁻¹ (f_new - f̄), which is linear in the q_i; so the same sum over
the scores s_ui gives s_u,new, and the vectors need not be known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..context import RunContext
from ..data.histories import Histories
from ..data.topk import top_k
from ..metrics._quick import ndcg_at

LANDMARKS = 1_000  # items that all are compared with by the kernel
STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the penalty, tried where none is given
NETWORK_STRENGTHS = (0.1, 0.3, 1.0)  # a network is slow to fit, and these bracket what was best on every data set tried
FOLDS, SAMPLE, K = 5, 600, 20  # groups of warm items left out in turn; users and list length they are judged by
STEPS = 300  # of the network


@dataclass(frozen=True)
class Bridge:
    """scores of new items = S @ base + (S @ left) @ right. base (n,), left (n, m), right (m, n_new), float32; base sums to 1."""

    base: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def scores(self, warm: np.ndarray) -> np.ndarray:
        """float32 (B, n_new) from scores of the warm items (B, n). Centred first, so that large common levels lose no digits."""
        level = warm @ self.base
        return level[:, None] + ((warm - level[:, None]) @ self.left) @ self.right

    def weights(self, new: int) -> np.ndarray:
        """float (n,): what each warm item counts for one new item; sums to 1."""
        return self.base + self.left @ self.right[:, new]


def ridge_bridge(known: np.ndarray, new: np.ndarray, weight: np.ndarray, strength: float) -> Bridge:
    """The bridge of a weighted ridge regression with an intercept on features known (n, m) and new (n_new, m).

    strength: of the penalty, relative to the mean squared length of the centred features, so that it means the same on any data.
    """
    base = weight / weight.sum()
    middle = base @ known
    known, new = known - middle, new - middle
    left = known * base[:, None]
    square = known.T @ left
    penalty = strength * max(float(np.trace(square)), 1e-12)
    right = np.linalg.solve(square + penalty * np.eye(len(square)), new.T)
    return Bridge(base.astype(np.float32), left.astype(np.float32), right.astype(np.float32))


def network_bridge(
    known: np.ndarray, new: np.ndarray, weight: np.ndarray, strength: float, scores: np.ndarray, rank: int, ctx: RunContext
) -> Bridge:
    """The bridge of a network from features to item vectors, which are the first `rank` right singular vectors of the scores.

    scores (B, n): of some users for the warm items. strength: of the weight decay.
    """
    import torch
    from torch import nn

    from ..nn.runtime import seeded

    base = weight / weight.sum()
    centred = scores - (scores @ base)[:, None]
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    axes, size = axes[:rank], size[:rank] / max(size[0], 1e-12)
    said = torch.as_tensor(base * len(base), dtype=torch.float32)[:, None]
    inputs = torch.as_tensor((known - base @ known), dtype=torch.float32)
    spread = inputs.square().sum(1).mean().sqrt().clamp(min=1e-6) / np.sqrt(inputs.shape[1])
    targets = torch.as_tensor(axes.T * np.sqrt(len(base)), dtype=torch.float32)
    matters = torch.as_tensor(size**2, dtype=torch.float32)  # an axis counts as much as it moves the scores
    with seeded(ctx.seed_for("bridge")):
        net = nn.Sequential(nn.Linear(inputs.shape[1], 128), nn.Tanh(), nn.Dropout(0.3), nn.Linear(128, len(axes)))
        learner = torch.optim.AdamW(net.parameters(), lr=0.003, weight_decay=10 * strength)
        for step in range(STEPS):
            ctx.report("Learning", step / STEPS)
            learner.zero_grad()
            loss = (said * matters * (net(inputs / spread) - targets).square()).mean()
            loss.backward()
            learner.step()
    with torch.inference_mode():
        net.eval()
        placed = torch.as_tensor((new - base @ known), dtype=torch.float32) / spread
        right = net(placed).numpy().T / np.sqrt(len(base))
    return Bridge(base.astype(np.float32), axes.T.astype(np.float32), right.astype(np.float32))


# ---- features ------------------------------------------------------------------------------------
def kernel_features(vectors: Any, warm: np.ndarray, width: float, rng: np.random.Generator) -> np.ndarray:
    """float64 (I, m): features whose products are exp(-|v_i - v_j|² / 2 width²), through landmarks (Nyström); exact among them.

    Cost: LANDMARKS³ + I × LANDMARKS²."""
    chosen = warm if len(warm) <= LANDMARKS else np.sort(rng.choice(warm, LANDMARKS, replace=False))
    near = vectors.similar(chosen).astype(np.float64)  # products of vectors of length 1: |v - w|² = 2 - 2 v·w
    near = np.exp((near - 1) / width**2)
    values, axes = np.linalg.eigh(near[:, chosen])
    kept = values > 1e-8 * values[-1]
    return near.T @ (axes[:, kept] / np.sqrt(values[kept]))


# ---- how strongly it is held back ----------------------------------------------------------------
@dataclass
class Trial:
    """Warm items left out in groups: how well users' scores of the others tell who chose them.

    score: gives raw scores (B, I) of histories. features (I, m). The users' histories lack the items left out."""

    score: Callable[[Histories], np.ndarray]
    histories: Histories
    n_items: int
    threshold: float | None
    warm: np.ndarray
    ctx: RunContext
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray, Any]] = field(default_factory=list)

    def prepare(self) -> Trial:
        """Score once for every group."""
        fold = self.ctx.rng("bridge groups").permutation(len(self.warm)) % FOLDS
        for number in range(FOLDS if len(self.warm) >= 2 * FOLDS else 0):
            self.ctx.report("Leaving items out", number / FOLDS)
            kept, left_out = self.warm[fold != number], self.warm[fold == number]
            row, hidden = self.histories.row, np.isin(self.histories.items, left_out)
            truth = self._part(row, hidden).relevant(self.threshold).matrix(self.n_items)[:, left_out]
            given = self._part(row, ~hidden)
            users = np.flatnonzero((np.diff(truth.indptr) > 0) & (given.lengths > 0))
            if len(users):
                self.blocks.append((kept, left_out, self.score(given.take(users))[:, kept], truth[users]))
        return self

    def _part(self, row: np.ndarray, keep: np.ndarray) -> Histories:
        h = self.histories
        times = None if h.times is None else h.times[keep]
        return Histories.from_rows(len(h), row[keep], h.items[keep], h.values[keep], times)

    def quality(self, build: Callable[[np.ndarray, np.ndarray, np.ndarray], Bridge]) -> np.ndarray:
        """float (pairs of user and group,): NDCG@20 among the items left out. build(kept, left out, scores of kept): the bridge."""
        reached = []
        for kept, left_out, scores, truth in self.blocks:
            self.ctx.check()
            lists, _ = top_k(build(kept, left_out, scores).scores(scores), min(K, len(left_out)))
            reached.append(ndcg_at(lists, truth, K))
        return np.concatenate(reached) if reached else np.zeros(1)


def strongest_as_good(tried: dict[float, np.ndarray]) -> float:
    """The strongest penalty whose quality falls short of the best by no more than chance explains (two standard errors of the
    difference): it places new items most carefully."""
    best = max(tried, key=lambda strength: (tried[strength].mean(), strength))

    def good(strength: float) -> bool:
        short = tried[best] - tried[strength]
        return short.mean() <= 2 * short.std() / np.sqrt(len(short))

    return max(strength for strength in tried if strength >= best and good(strength))


def shift_for(share: float, warm: np.ndarray, new: np.ndarray, seen: np.ndarray, k: int = K) -> float:
    """What is added to the new items' scores, in deviations of a user's warm scores, so that they take `share` of the k places.

    warm, new: scores (B, n), (B, n_new) of some users; seen: bool (B, n), items no list may hold. Found by halving."""
    spread, open_ = warm.std(axis=1, keepdims=True), np.where(seen, -np.inf, warm)
    low, high = -20.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        lists, _ = top_k(np.hstack([open_, new + middle * spread]), min(k, warm.shape[1] + new.shape[1]))
        taken = (lists >= warm.shape[1]).sum() / max(1, (lists >= 0).sum())
        low, high = (middle, high) if taken < share else (low, middle)
    return (low + high) / 2
