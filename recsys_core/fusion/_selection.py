"""Which models a fusion is made of, and how much each counts: forward selection on many halves of the held-out users."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..context import RunContext
from ._weights import Candidates

SHARES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6)  # how much a part that enters may say, beside those that are in
HALVES = 20  # how many random halves of the users the selection is made on
LEAST_WEIGHT = 0.02  # a part whose mean weight is below this is left out: it was chosen by luck, or hardly heard


@dataclass(frozen=True)
class Choice:
    """Of P parts: weights (P,), sum 1, 0 for those left out. helped (P,): share of the halves in which the part entered.
    alone (P,): NDCG of each by itself on all users. On the users a selection was not made on: together, its mean NDCG; best_alone,
    that of the part that was best on the others; gain and error, the difference with its standard error over users."""

    weights: np.ndarray
    helped: np.ndarray
    alone: np.ndarray
    together: float
    best_alone: float
    gain: float
    error: float

    @property
    def chosen(self) -> np.ndarray:
        """Numbers of the parts that are kept."""
        return np.flatnonzero(self.weights > 0)


def forward(candidates: Candidates, rng: np.random.Generator) -> np.ndarray:
    """(P,) weights: the best part alone, then again and again the one that adds most, while it adds anything.

    A newcomer's share is chosen on one part of the users and judged on the other, both ways round: noise does not enter by a lucky
    share, and a copy of a part that is in adds nothing.
    Source: Caruana et al., "Ensemble selection from libraries of models", ICML 2004. Differs: parts enter once, with a share
    judged on other users, instead of many times with equal votes.
    Shapes: scores (P, V, C). Cost: at most P² / 2 × 6 rankings of V × C scores.
    """
    n_parts, n_users = candidates.scores.shape[:2]
    first = rng.permutation(n_users) % 2 == 0
    each = np.stack([candidates.per_user(scores.copy()) for scores in candidates.scores])
    best = int(each.mean(axis=1).argmax())
    weights, fused, reached = np.eye(n_parts)[best], candidates.scores[best].astype(np.float32), each[best]
    while (weights == 0).any():
        gains = {part: _gain(candidates, fused, reached, part, first) for part in np.flatnonzero(weights == 0)}
        part = max(gains, key=lambda p: gains[p][0])
        gain, share = gains[part]
        if gain <= 0:
            break
        weights = (1 - share) * weights
        weights[part] = share
        fused = (1 - share) * fused + share * candidates.scores[part]
        reached = candidates.per_user(fused.copy())
    return weights


def _gain(candidates: Candidates, fused: np.ndarray, reached: np.ndarray, part: int, first: np.ndarray) -> tuple[float, float]:
    """(mean NDCG gained on users the share was not chosen on, the share that is best on all)."""
    gains = np.stack([candidates.per_user((1 - share) * fused + share * candidates.scores[part]) - reached for share in SHARES])
    if first.all() or not first.any():
        return float(gains.mean(axis=1).max()), SHARES[int(gains.mean(axis=1).argmax())]
    by_first, by_second = (int(gains[:, side].mean(axis=1).argmax()) for side in (first, ~first))
    honest = np.where(first, gains[by_second], gains[by_first])
    return float(honest.mean()), SHARES[int(gains.mean(axis=1).argmax())]


def choose(candidates: Candidates, ctx: RunContext) -> Choice:
    """Forward selection on `HALVES` random halves of the users; a part counts as much as it did on average.

    One selection keeps what was lucky on its users; the mean over many halves keeps what helps again and again, and weighs it
    by how often and how much. Every selection is judged on the half it has not seen. Cost: `HALVES` × `forward` on V / 2 users.
    """
    n_parts, n_users = candidates.scores.shape[:2]
    rng = ctx.rng("fusion halves")
    each = np.stack([candidates.per_user(scores.copy()) for scores in candidates.scores])  # (P, V)
    found = np.empty((HALVES, n_parts))
    fused_sum, alone_sum, times = np.zeros(n_users), np.zeros(n_users), np.zeros(n_users)
    for number in range(HALVES):
        ctx.report("Choosing the models", number / HALVES, f"{number + 1} of {HALVES} halves of the held-out users")
        order = rng.permutation(n_users)
        told, other = np.sort(order[: -(-n_users // 2)]), np.sort(order[-(-n_users // 2) :])
        found[number] = forward(of_users(candidates, told), rng)
        rest = of_users(candidates, other)
        fused_sum[other] += rest.per_user(np.tensordot(found[number].astype(np.float32), rest.scores, axes=1))
        alone_sum[other] += each[each[:, told].mean(axis=1).argmax(), other]
        times[other] += 1
    judged = times > 0
    fused, alone = (total[judged] / times[judged] for total in (fused_sum, alone_sum))
    error = float((fused - alone).std(ddof=1) / np.sqrt(judged.sum())) if judged.sum() > 1 else float("inf")
    weights = found.mean(axis=0)
    weights[weights < max(LEAST_WEIGHT, 0)] = 0
    if judged.any() and (fused - alone).mean() <= 0:  # together they are no better than the best by itself
        weights = np.eye(n_parts)[int(each.mean(axis=1).argmax())]
    return Choice(
        weights=weights / weights.sum(),
        helped=(found > 0).mean(axis=0),
        alone=each.mean(axis=1),
        together=float(fused.mean()) if judged.any() else float(each.mean(axis=1).max()),
        best_alone=float(alone.mean()) if judged.any() else float(each.mean(axis=1).max()),
        gain=float((fused - alone).mean()) if judged.any() else 0.0,
        error=error,
    )


def of_users(candidates: Candidates, rows: np.ndarray) -> Candidates:
    """The candidates of some users, by row number."""
    c = candidates
    return replace(c, items=c.items[rows], scores=c.scores[:, rows], hits=c.hits[rows], ideal=c.ideal[rows])
