"""What a learner of a stacking fusion sees of its candidates, and the held-out users it is taught on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import sparse

from ..context import RunContext
from ..data.dataset import Dataset
from ..data.features import Scale
from ..data.histories import Histories
from ..data.topk import top_k
from ..metrics._lists import discounts
from ..models._base import Recommender
from ._candidates import Block, Surroundings, closeness, item_vectors
from ._weights import Candidates, search

FOLDS = 5
MIN_TEACHERS = 30  # users with a held-out item among their candidates; with fewer nothing but fixed weights is learnt


@dataclass(frozen=True)
class Seen:
    """What is known of B users and their C candidates. row: float32 (B, R), of the user; pair: float32 (B, C, F), of the
    user with the candidate; 0 where there is none. Raw, or brought to one scale by `Inputs.scaled`."""

    row: np.ndarray
    pair: np.ndarray


class Inputs:
    """Makes `Seen` of candidates. learnt: constants of `Surroundings` and, after teaching, the scales of all columns.

    Columns of a pair: each part's normalised score, the item's popularity and age, its table's numbers where asked for, its
    closeness to the history in the space of each part that has one, where asked for; scaled also each part's place.
    """

    def __init__(self, data: Dataset, parts: list[Recommender], learnt: dict[str, Any], *, embeddings: bool) -> None:
        self.around = Surroundings(data, learnt)
        spaces = [item_vectors(part) for part in parts] if embeddings else []
        self.spaces = [vectors for vectors in spaces if vectors is not None]
        self.n_parts, self.scales = len(parts), learnt.get("scales")

    def raw(self, block: Block, histories: Histories, users: np.ndarray | None) -> Seen:
        """users: training codes of the rows, None for users from outside."""
        items = self.around.items[np.maximum(block.items, 0)] * block.real[:, :, None]
        near = [closeness(vectors, histories, block.items)[:, :, None] for vectors in self.spaces]
        return Seen(self.around.user_values(histories, users), np.concatenate([block.scores, items, *near], axis=2))

    def learn_scales(self, seen: Seen, real: np.ndarray) -> None:
        """Scores by the logarithm, which keeps the far ends apart: there the best candidates are. All else by `Scale`."""
        levelled = [Scale(-np.inf, np.inf, 0, 1, 1.0)(seen.pair[:, :, n][real].astype(np.float64)) for n in range(self.n_parts)]
        ends = np.finfo(np.float32).max.item()
        scores = [Scale(-ends, ends, float(one.mean()), float(one.std()) or 1.0, 1.0) for one in levelled]
        rest = [Scale.fit(seen.pair[:, :, n][real].astype(np.float64)) for n in range(self.n_parts, seen.pair.shape[2])]
        rows = [Scale.fit(column.astype(np.float64)) for column in seen.row.T]
        self.scales = {"row": [asdict(one) for one in rows], "pair": [asdict(one) for one in [*scores, *rest]]}

    def scaled(self, seen: Seen, block: Block) -> Seen:
        """Every column with mean 0 and deviation 1 over the teaching users; values beyond theirs are pulled in."""
        row = np.stack([Scale(**one)(seen.row[:, n].astype(np.float64)) for n, one in enumerate(self.scales["row"])], axis=1)
        pair = [Scale(**one)(seen.pair[:, :, n]) for n, one in enumerate(self.scales["pair"])]
        pair = np.concatenate([np.stack(pair, axis=2), 2 * block.places - 1], axis=2) * block.real[:, :, None]
        return Seen(row.astype(np.float32), pair.astype(np.float32))


@dataclass(frozen=True)
class Lesson:
    """V teaching users. hits: bool (V, C), the candidate is a held-out relevant one; n_relevant: int (V,), all held-out
    relevant items, candidates or not; fold: int (V,), the fifth of the users each belongs to."""

    block: Block
    seen: Seen
    hits: np.ndarray
    n_relevant: np.ndarray
    fold: np.ndarray
    k: int

    def ndcg(self, fused: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float (B,): NDCG@k of the lists that scores (B, C) of the candidates give the users in these rows."""
        columns, _ = top_k(np.where(self.block.real[rows], fused, -np.inf).astype(np.float32), self.k)
        gains = np.take_along_axis(self.hits[rows], np.maximum(columns, 0), axis=1) & (columns >= 0)
        return (gains @ discounts(self.k)) / self._ideal[rows]

    @property
    def _ideal(self) -> np.ndarray:
        return np.cumsum(discounts(self.k))[np.clip(self.n_relevant, 1, self.k) - 1]

    @property
    def teachers(self) -> np.ndarray:
        """Row numbers of the users one can learn from: a held-out item is among their candidates."""
        return np.flatnonzero(self.hits.any(axis=1))

    @property
    def recall(self) -> float:
        """Mean share of a user's held-out relevant items that are candidates."""
        return float((self.hits.sum(axis=1) / np.maximum(self.n_relevant, 1)).mean())

    @property
    def recalls(self) -> list[float]:
        """The same of the candidates of each part alone; place 0 is beyond the part's own."""
        found = (self.hits[:, :, None] & (self.block.places > 0)).sum(axis=1)  # (V, P)
        return (found / np.maximum(self.n_relevant, 1)[:, None]).mean(axis=0).astype(float).tolist()

    def best_fixed(self, ctx: RunContext, rows: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """The best fixed weights (P,) for these users (all), and their NDCG@k."""
        rows = np.arange(len(self.hits)) if rows is None else rows
        scores = np.ascontiguousarray(np.moveaxis(self.block.scores[rows], 2, 0))
        return search(Candidates(self.block.items[rows], scores, self.hits[rows], self._ideal[rows], self.k), ctx)

    def parted(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """(row numbers of the users of one fifth, of the others)."""
        return np.flatnonzero(self.fold == fold), np.flatnonzero(self.fold != fold)


@dataclass(frozen=True)
class Taught:
    """What a learner found. arrays: {} where the fixed weights stay. fixed: NDCG of fixed weights on users they were not found on;
    gain: what the learner adds on the same users, who chose how far it goes, so it is a little kind."""

    arrays: dict[str, Any]
    fixed: float
    gain: float


def lesson_of(blocks: list[Block], seen: list[Seen], relevant: list[sparse.csr_matrix], k: int, rng: np.random.Generator) -> Lesson:
    """Blocks of users joined, padded to the widest."""
    width = max(block.items.shape[1] for block in blocks)

    def joined(arrays: list[np.ndarray], fill: float = 0) -> np.ndarray:
        pads = [[(0, 0), (0, width - one.shape[1])] + [(0, 0)] * (one.ndim - 2) for one in arrays]
        return np.concatenate([np.pad(one, pad, constant_values=fill) for one, pad in zip(arrays, pads, strict=True)])

    hits = [_hits(one.items, truth) for one, truth in zip(blocks, relevant, strict=True)]
    block = Block(*(joined([getattr(one, f.name) for one in blocks], -1 if f.name == "items" else 0) for f in fields(Block)))
    rows, pairs = np.concatenate([one.row for one in seen]), joined([one.pair for one in seen])
    n_relevant = np.concatenate([np.diff(truth.indptr) for truth in relevant])
    fold = rng.permutation(len(n_relevant)) % FOLDS
    return Lesson(block, Seen(rows, pairs), joined(hits), n_relevant, fold, k)


def _hits(items: np.ndarray, relevant: sparse.csr_matrix) -> np.ndarray:
    truth = relevant.toarray().astype(bool)
    return np.take_along_axis(truth, np.maximum(items, 0), axis=1) & (items >= 0)


def best_step(curve: np.ndarray) -> tuple[int, float]:
    """(which step to take, its gain in NDCG) of curve (S, V): NDCG of V held-out users after each of S steps, the first the start.

    The start stays unless the best step is ahead of it by more than the standard error of the difference: the best of
    many figures is in part luck.
    """
    gains = curve - curve[0]
    best = int(gains.mean(axis=1).argmax())
    gain = gains[best]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return (best, float(gain.mean())) if gain.mean() > error else (0, 0.0)


def sharpness(lesson: Lesson, fixed: np.ndarray) -> float:
    """What the fixed sum (V, C) is to be multiplied by so that its softmax fits the held-out items best."""
    rows = lesson.teachers
    there, hits = lesson.block.real[rows], lesson.hits[rows]
    scores = np.where(there, fixed[rows], 0)

    def loss(factor: float) -> float:
        logits = np.where(there, factor * scores, -np.inf)
        top = logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
        return float((total - (factor * scores * hits).sum(axis=1) / hits.sum(axis=1)).mean())

    return _lowest(loss, np.geomspace(0.03, 10, 25))


def _lowest(loss: Callable[[float], float], values: np.ndarray) -> float:
    return float(values[int(np.argmin([loss(float(one)) for one in values]))])
