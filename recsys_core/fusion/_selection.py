"""Which models a fusion is made of, and how much each counts: forward selection on many halves of the held-out users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..context import RunContext
from ..data.holdout import Holdout
from ._weights import Candidates

SHARES = (0.05, 0.15, 0.35, 0.6)  # how much a part that enters may say, beside those that are in
STEPS = 12  # of one forward selection, at most
HOPELESS = -0.005  # who would lose this much NDCG is not asked again
SCREEN = 6  # a part that entered in none of so many halves is not looked at in the others
HALVES = 20  # how many random halves of the users the selection is made on
LEAST_WEIGHT = 0.02  # a part whose mean weight is below this is left out: it was chosen by luck, or hardly heard

STOPPING_USERS = 2000  # of the held-out users, at most, say when networks stop; a third of them where there are fewer
FEW_USERS = 50  # with fewer to stop by, the same users judge too

HEDGE = 0.2  # of the weight goes to the best part of every kind, whatever the held-out users say
NEAR = 0.85  # of the best part's NDCG is what a part must reach alone to be hedged with


@dataclass(frozen=True)
class Choice:
    """Of P parts: weights (P,), sum 1, 0 for those left out. helped (P,): share of the halves in which the part entered.
    alone (P,): NDCG of each by itself on all users. On the users a selection was not made on: together, its mean NDCG; best_alone,
    that of the part that was best on the others; gain and error, the difference with its standard error over users. near: the
    parts hedged with."""

    weights: np.ndarray
    helped: np.ndarray
    alone: np.ndarray
    together: float
    best_alone: float
    gain: float
    error: float
    near: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def chosen(self) -> np.ndarray:
        """Numbers of the parts that are kept."""
        return np.flatnonzero(self.weights > 0)


def forward(candidates: Candidates, rng: np.random.Generator) -> np.ndarray:
    """(P,) weights: the best part alone, then again and again the one that adds most, while it adds anything.

    A part that is in may be given more say instead, and is preferred on ties: so a copy of it never enters. The share given is
    chosen on one part of the users and judged on the other, both ways round, lest noise enters by a lucky share.
    Source: Caruana et al., "Ensemble selection from libraries of models", ICML 2004. Differs: shares are searched for and
    judged on other users, instead of one equal vote a step.
    Shapes: scores (P, V, C). Cost: `STEPS` × P × 4 rankings of V × C scores, at most.
    """
    n_parts, n_users = candidates.scores.shape[:2]
    first = rng.permutation(n_users) % 2 == 0
    each = np.stack([candidates.per_user(scores.copy()) for scores in candidates.scores])
    best = int(each.mean(axis=1).argmax())
    weights, fused, reached = np.eye(n_parts)[best], candidates.scores[best].astype(np.float32), each[best]
    hopeful = list(range(n_parts))
    for _ in range(STEPS):
        gains = {part: _gain(candidates, fused, reached, part, first) for part in hopeful}
        part = max(gains, key=lambda p: (round(gains[p][0], 12), weights[p] > 0))
        gain, share = gains[part]
        if gain <= 0:
            break
        weights = (1 - share) * weights
        weights[part] += share
        fused = (1 - share) * fused + share * candidates.scores[part]
        reached = candidates.per_user(fused.copy())
        hopeful = [p for p in hopeful if gains[p][0] > HOPELESS or weights[p] > 0]
    return weights


def _gain(candidates: Candidates, fused: np.ndarray, reached: np.ndarray, part: int, first: np.ndarray) -> tuple[float, float]:
    """(mean NDCG gained on users the share was not chosen on, the share that is best on all)."""
    gains = np.stack([candidates.per_user((1 - share) * fused + share * candidates.scores[part]) - reached for share in SHARES])
    if first.all() or not first.any():
        return float(gains.mean(axis=1).max()), SHARES[int(gains.mean(axis=1).argmax())]
    by_first, by_second = (int(gains[:, side].mean(axis=1).argmax()) for side in (first, ~first))
    honest = np.where(first, gains[by_second], gains[by_first])
    return float(honest.mean()), SHARES[int(gains.mean(axis=1).argmax())]


def choose(candidates: Candidates, ctx: RunContext, families: Sequence[str] = ()) -> Choice:
    """Forward selection on `HALVES` random halves of the users; a part counts as much as it did on average.

    One selection keeps what was lucky on its users; the mean over many halves keeps what helps again and again, and weighs it
    by how often and how much. families: of every part, to hedge with (`hedged`). Every selection, hedged as the outcome is, is
    judged on the half it has not seen. Cost: `HALVES` × `forward` on V / 2 users.
    """
    n_parts, n_users = candidates.scores.shape[:2]
    rng = ctx.rng("fusion halves")
    asked = np.arange(n_parts)
    each = np.stack([candidates.per_user(scores.copy()) for scores in candidates.scores])  # (P, V)
    found = np.zeros((HALVES, n_parts))
    fused_sum, alone_sum, times = np.zeros(n_users), np.zeros(n_users), np.zeros(n_users)
    for number in range(HALVES):
        ctx.report("Choosing the models", number / HALVES, f"{number + 1} of {HALVES} halves of the held-out users")
        order = rng.permutation(n_users)
        told, other = np.sort(order[: -(-n_users // 2)]), np.sort(order[-(-n_users // 2) :])
        if number == SCREEN:
            asked = np.flatnonzero(found[:SCREEN].any(axis=0))
        found[number, asked] = forward(of_users(candidates, told, asked), rng)
        rest = of_users(candidates, other)
        by_told = each[:, told].mean(axis=1)
        used, _ = hedged(found[number], by_told, families)
        fused_sum[other] += rest.per_user(np.tensordot(used.astype(np.float32), rest.scores, axes=1))
        alone_sum[other] += each[by_told.argmax(), other]
        times[other] += 1
    judged = times > 0
    fused, alone = (total[judged] / times[judged] for total in (fused_sum, alone_sum))
    error = float((fused - alone).std(ddof=1) / np.sqrt(judged.sum())) if judged.sum() > 1 else 0.0
    weights = found.mean(axis=0)
    weights[weights < LEAST_WEIGHT] = 0
    if judged.any() and (fused - alone).mean() <= 0:  # together they are no better than the best by itself
        weights = np.eye(n_parts)[int(each.mean(axis=1).argmax())]
    weights, near = hedged(weights / weights.sum(), each.mean(axis=1), families)
    return Choice(
        weights=weights,
        helped=(found > 0).mean(axis=0),
        alone=each.mean(axis=1),
        together=float(fused.mean()) if judged.any() else float(each.mean(axis=1).max()),
        best_alone=float(alone.mean()) if judged.any() else float(each.mean(axis=1).max()),
        gain=float((fused - alone).mean()) if judged.any() else 0.0,
        error=error,
        near=near,
    )


def hedged(weights: np.ndarray, alone: np.ndarray, families: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(the weights (P,) with `HEDGE` of them spread evenly over the best part of each family named ("" is none), those parts).

    Parts are weighed while fitted on less data than they will be fitted on in the end, and not all gain alike from more: so the
    best of every kind keeps a say. Only parts that come near the best alone; nothing changes where one part is used alone.
    alone (P,): NDCG of each part by itself.
    Source: Diebold & Shin, "Machine learning for regularized survey forecast combination", 2019 (weights drawn towards equal ones).
    """
    best = [max((n for n, f in enumerate(families) if f == family), key=lambda n: alone[n]) for family in sorted({*families} - {""})]
    near = np.array([n for n in best if alone[n] >= NEAR * alone.max()], dtype=np.int64)
    if np.count_nonzero(weights) < 2 or len(near) < 2:
        return weights, near[:0]
    weights = (1 - HEDGE) * weights / weights.sum()
    weights[near] += HEDGE / len(near)
    return weights, near


def of_users(candidates: Candidates, rows: np.ndarray, parts: np.ndarray | slice = slice(None)) -> Candidates:
    """The candidates of some users, by row number, with the scores of some parts."""
    c = candidates
    return replace(c, items=c.items[rows], scores=c.scores[parts][:, rows], hits=c.hits[rows], ideal=c.ideal[rows])


def stoppers_and_judges(validation: Holdout, ctx: RunContext) -> tuple[Holdout, Holdout]:
    """(users that say when networks stop, users that judge the parts): nobody does both, or a network that stopped where it
    suited them would look better than a model that does not stop. Where there are few users everybody does both."""
    users = ctx.rng("fusion stopping users").permutation(validation.users)
    n_stop = min(STOPPING_USERS, len(users) // 3)
    if n_stop < FEW_USERS:
        return validation, validation
    stops = np.zeros(validation.truth.n_users, dtype=bool)
    stops[users[:n_stop]] = True
    stops = stops[validation.truth.user]
    stop, judge = (Holdout(validation.truth.subset(of), validation.given, validation.candidates) for of in (stops, ~stops))
    return stop, judge
