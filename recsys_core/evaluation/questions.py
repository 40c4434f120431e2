"""Which items to ask a new user about first: those they are likely to like and whose like would tell most about their taste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from ..data.dataset import Dataset
from ._questions_scale import AnswerScale, plain_like, scale_of, told
from ._questions_tastes import tastes

Strategy = Literal["informative", "popular", "liked", "random"]

CANDIDATES = 500  # the most known items: others would nearly always be skipped
RESPONDENTS = 3_000  # training users whose answers are looked up; more of them make questions slow, not better
TRUST_LIKE, TRUST_OTHER = 0.8, 0.5  # how far an answer is taken to part users, against chance
DOUBT = 5.0  # likers of an item, in effect, at which half of what they differ by is believed
RANDOM_AMONG = 200


@dataclass(frozen=True, eq=False)
class Asker:
    """Questions from the training matrix alone, chosen anew after every answer.

    Some training users are respondents: what they would answer is known. Every answer of the new user reweighs them (a naive Bayes
    posterior over people). An item is worth asking by
        P(likes it | all answers) × √(how far the mean taste would move if it were liked, seen from the likes so far),
    the first over respondents weighted by all answers, skipped items included; the second over those weighted by likes alone, as most
    recommenders see likes alone. Taste = likes projected on their main directions; a move rests on n likers in effect and is shrunk
    by n / (n + 5).
    Source: the idea of questions that adapt to answers: Golbandi, Koren and Lempel, Adaptive bootstrapping of recommender systems
    using decision trees, WSDM 2011, https://doi.org/10.1145/1935826.1935910; of asking by information among neighbours: Rashid,
    Karypis and Riedl, Learning preferences of new users in recommender systems, SIGKDD Explorations 2008 (IGCN),
    https://doi.org/10.1145/1540276.1540302.
    Differs: no tree is grown: users are parted softly, so a slip costs little, every user may skip, and small data does not run out
    of users after three questions. Other strategies, for comparison: popular (most known), liked (most liked), random (among the
    200 most known).
    Shapes: candidates (C,); liked_by csr (C, U) over respondents; taste (U, d).
    Cost: about C × U × density × d multiplications a question: 500 items, 3,000 users, some 5 ms; not more with a larger catalogue.
    """

    train: Dataset
    scale: AnswerScale
    strategy: Strategy
    candidates: np.ndarray
    known: sparse.csc_matrix  # (U, I) bool of respondents
    liked: sparse.csc_matrix
    liked_by: sparse.csr_matrix  # (C, U): likers of the candidates
    taste: np.ndarray
    counts: np.ndarray  # (I,) training users who know an item
    seed: int = 0

    @classmethod
    def fit(
        cls,
        train: Dataset,
        strategy: Strategy = "informative",
        *,
        n_candidates: int = CANDIDATES,
        n_users: int = RESPONDENTS,
        seed: int = 0,
    ) -> Asker:
        """From a training set. Deterministic by the seed, which draws the respondents where there are more users than n_users."""
        scale, seen = AnswerScale.of(train), train.matrix("seen")
        counts = np.bincount(seen.indices, minlength=train.n_items)
        order = np.argsort(-counts, kind="stable").astype(np.int32)
        candidates = order[counts[order] > 0][:n_candidates]
        active = np.flatnonzero(np.diff(seen.indptr) > 0)
        if len(active) > n_users:
            active = np.sort(np.random.default_rng(seed).choice(active, n_users, replace=False))
        chosen = np.zeros(train.n_users, dtype=bool)
        chosen[active] = True
        known = train.subset(chosen[train.user]).matrix("value")[active]
        liked = known.copy()
        liked.data = scale.liked(known.data).astype(np.float32)
        liked.eliminate_zeros()
        known.data = np.ones_like(known.data)
        liked_by = sparse.csr_matrix(liked[:, candidates].T)
        return cls(train, scale, strategy, candidates, known.tocsc(), liked.tocsc(), liked_by, tastes(liked), counts, seed)

    def next(
        self, answers: Sequence[tuple[int, float]], skipped: Sequence[int] = (), n: int = 1, leave_out: Sequence[int] = ()
    ) -> np.ndarray:
        """int32 (up to n,) item codes to ask next, best first; none that was answered, skipped or is to be left out.

        answers: (item code, value on the data's scale). Of several items, each is chosen as if those before it were liked, so that
        they do not all ask the same.
        """
        asked = [item for item, _ in answers] + [*skipped]
        free = ~np.isin(self.candidates, [*asked, *leave_out])
        if self.strategy != "informative":
            return self._simple(len(asked))[free[self._simple_order(len(asked))]][:n]
        likes, dislikes = self._parted(answers)
        chance = self._like_chance(self._weights(likes, dislikes, skipped))
        found: list[int] = []
        for _ in range(min(n, int(free.sum()))):
            worth = np.where(free, chance * np.sqrt(self._moves(self._weights([*likes, *found]))), -1.0)
            best = int(worth.argmax())  # of equals the most known one
            free[best] = False
            found.append(int(self.candidates[best]))
        return np.array(found, dtype=np.int32)

    def shares(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(known, liked) float (n,): shares of the respondents."""
        n_users = max(1, self.known.shape[0])
        return self.known[:, items].getnnz(axis=0) / n_users, self.liked[:, items].getnnz(axis=0) / n_users

    # ---- inside ----------------------------------------------------------------------------------
    def _parted(self, answers: Sequence[tuple[int, float]]) -> tuple[list[int], list[int]]:
        items, good = [item for item, _ in answers], self.scale.liked(np.array([value for _, value in answers]))
        return [i for i, g in zip(items, good, strict=True) if g], [i for i, g in zip(items, good, strict=True) if not g]

    def _weights(self, likes: Sequence[int], dislikes: Sequence[int] = (), skipped: Sequence[int] = ()) -> np.ndarray:
        """float64 (U,), sums to 1: how much each respondent is like one who answers so. An answer given by a share p of all counts
        trust × (gave the same answer) + (1 - trust) × p."""
        n_users = self.known.shape[0]
        log = np.zeros(n_users)
        for items, trust, answer in ((likes, TRUST_LIKE, "like"), (dislikes, TRUST_OTHER, "dislike"), (skipped, TRUST_OTHER, "skip")):
            if not len(items):
                continue
            liked = self.liked[:, list(items)].toarray()
            same = liked if answer == "like" else self.known[:, list(items)].toarray() - liked
            same = 1 - same - liked if answer == "skip" else same
            share = np.maximum(same.mean(axis=0), 0.5 / n_users)  # an answer nobody gave parts nobody
            log += np.log(trust * same + (1 - trust) * share).sum(axis=1)
        weights = np.exp(log - log.max())
        return weights / weights.sum()

    def _like_chance(self, weights: np.ndarray) -> np.ndarray:
        """float (C,): chance that each candidate is liked, drawn towards the share of all."""
        return TRUST_LIKE * (self.liked_by @ weights) + (1 - TRUST_LIKE) * self.liked_by.getnnz(axis=1) / self.known.shape[0]

    def _moves(self, weights: np.ndarray) -> np.ndarray:
        """float (C,): how far the mean taste moves when a candidate is liked, shrunk where few likers carry it."""
        weighted = weights[:, None] * self.taste
        share = self.liked_by @ weights
        means = (self.liked_by @ weighted) / np.maximum(share, 1e-12)[:, None]
        in_effect = share / np.square(weights).sum()
        return np.linalg.norm(means - weighted.sum(axis=0), axis=1) * in_effect / (in_effect + DOUBT)

    def _simple_order(self, n_asked: int) -> np.ndarray:
        if self.strategy == "popular":
            return np.arange(len(self.candidates))
        if self.strategy == "liked":
            return np.argsort(-self.liked_by.getnnz(axis=1), kind="stable")
        return np.random.default_rng((self.seed, n_asked)).permutation(min(RANDOM_AMONG, len(self.candidates)))

    def _simple(self, n_asked: int) -> np.ndarray:
        return self.candidates[self._simple_order(n_asked)]


__all__ = ["AnswerScale", "Asker", "plain_like", "scale_of", "told"]
