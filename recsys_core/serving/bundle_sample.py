"""The users a bundle is judged on: test users of its run, what is known of them, and the lists the trained model gives them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..context import RunContext
from ..data.histories import Histories
from ..data.holdout import Holdout
from ..data.topk import TopK, top_k
from ..errors import NotFound
from ..evaluation.questions import told
from ..metrics import evaluate
from ..metrics._catalog import Catalog
from ..models._base import Recommender
from ..portable.history import History
from ..store.entries import RunEntry

MOST_USERS = 500
MOST_CELLS = 50_000_000  # of scores that are kept: very many items are looked at with fewer users
CELLS = 4_000_000  # scores a model is asked for at once


@dataclass(frozen=True, eq=False)
class Sample:
    """codes: int32 (B,) users of the run. histories: what is known of each. known: bool (B,), training users, for whom the model may use
    what it learnt of them; the others are folded in. holdout: what they chose later, None where the run keeps no test. scores: float32
    (B, I) of the trained model; top: its lists, of the items the run was judged on: allowed, bool (I,), None: all."""

    codes: np.ndarray
    histories: Histories
    known: np.ndarray
    holdout: Holdout | None
    scores: np.ndarray
    top: TopK
    allowed: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def k(self) -> int:
        return self.top.k

    def asked(self) -> list[tuple[History, int]]:
        """The same for a bundle: a history, and the code of the training user or -1."""
        rows, indptr = self.histories, self.histories.indptr
        times = rows.times
        return [
            (History(rows.items[a:b], rows.values[a:b], None if times is None else times[a:b]), int(code) if known else -1)
            for a, b, code, known in zip(indptr[:-1], indptr[1:], self.codes, self.known, strict=True)
        ]

    def whole_lists(self, k: int) -> TopK:
        """The trained model's lists of all items, whatever the run was judged on."""
        return _lists(self.codes, self.scores, self.histories, None, k)

    def figures(self, top: TopK, model: Recommender, ks: tuple[int, ...], *, everything: bool = False) -> dict[str, float | None]:
        """Of lists of these users: ndcg@20, hit_rate@10 and so on; {} without a test. everything: they are lists of all items."""
        if self.holdout is None:
            return {}
        holdout = Holdout(self.holdout.truth, self.holdout.given) if everything else self.holdout
        catalog = Catalog.from_dataset(replace(model.fitted, items=self.holdout.truth.items, item_table=None))
        found = evaluate(replace(top, users=self.codes), holdout, catalog, ks, metrics=["ndcg", "hit_rate"]).means()
        return {name: value if np.isfinite(value) else None for name, value in found.items()}


def sample_of(run: RunEntry, model: Recommender, k: int, ctx: RunContext, *, as_users: bool = True, most: int = MOST_USERS) -> Sample:
    """At most `most` test users of a run with something to go by; training users where the run keeps no test.

    as_users: training users are served as such; else they are folded in from their histories, as a bundle without users does it."""
    train, holdout = model.fitted, _holdout(run)
    most = max(1, min(most, MOST_CELLS // max(1, train.n_items)))
    if holdout is None:
        codes = np.flatnonzero(train.user_counts).astype(np.int32)
        codes = np.sort(ctx.rng("parity").choice(codes, min(most, len(codes)), replace=False)) if len(codes) else codes
    else:
        holdout = holdout.sample(most, ctx.rng("parity"))
        codes = holdout.users
    if holdout is not None and holdout.cold:
        histories, known = _of_catalogue(holdout.histories, train.n_items), np.zeros(len(codes), bool)
    else:
        inside = codes < train.n_users
        histories = _padded(train.histories(codes[inside]), inside)
        known = (histories.lengths > 0) & as_users
    scores = _scores(model, codes, histories, known, ctx)
    allowed = None
    if holdout is not None and holdout.candidates is not None:
        allowed = np.isin(np.arange(train.n_items), holdout.candidates)
    return Sample(codes, histories, known, holdout, scores, _lists(codes, scores, histories, allowed, k), allowed)


def _lists(codes: np.ndarray, scores: np.ndarray, histories: Histories, allowed: np.ndarray | None, k: int) -> TopK:
    masked = scores.copy()
    masked[histories.row, histories.items] = -np.inf
    if allowed is not None:
        masked[:, ~allowed] = -np.inf
    return TopK(codes, *top_k(masked, k))


def _holdout(run: RunEntry) -> Holdout | None:
    try:
        found = run.holdout()
    except (NotFound, FileNotFoundError):
        return None
    return found if len(found.users) else None


def _of_catalogue(histories: Histories, n_items: int) -> Histories:
    """Without items that came with a test file of one's own: the model has never met them."""
    keep = histories.items < n_items
    times = None if histories.times is None else histories.times[keep]
    return Histories.from_rows(len(histories), histories.row[keep], histories.items[keep], histories.values[keep], times)


def _padded(histories: Histories, inside: np.ndarray) -> Histories:
    """Rows for all of `inside`, empty where it is False."""
    lengths = np.zeros(len(inside), np.int64)
    lengths[inside] = histories.lengths
    return Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), histories.items, histories.values, histories.times)


def _scores(model: Recommender, codes: np.ndarray, histories: Histories, known: np.ndarray, ctx: RunContext) -> np.ndarray:
    n_items = model.fitted.n_items
    out, step = np.empty((len(codes), n_items), np.float32), max(1, CELLS // max(1, n_items))
    for start in range(0, len(codes), step):
        ctx.check()
        at = np.arange(start, min(start + step, len(codes)))
        users, strangers = at[known[at]], at[~known[at]]
        if len(users):
            out[users] = model.scores(codes[users])
        if len(strangers):
            out[strangers] = model.history_scores(told(model, histories.take(strangers))[0])
    return out
