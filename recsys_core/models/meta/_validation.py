"""How good a model is after a few items of new users, for choosing the pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from ...data.histories import Histories
from ...data.holdout import Holdout
from ...data.topk import top_k
from ...metrics._quick import ndcg_at

K = 20
MOST_USERS, FEWEST_USERS = 2_000, 500  # new users who decide which pass was the best
CELLS = 2**25  # of these users times items, in between


def judged_users(n_items: int) -> int:
    """How many new users decide: fewer where each of their lists takes long."""
    return int(np.clip(CELLS // max(1, n_items), FEWEST_USERS, MOST_USERS))


class FewShots:
    """New users' relevant items in an order of chance: the first few of each are shown, and all beyond the most that are ever shown have
    to be found, whatever the number shown. Lists hold none of those that may be shown."""

    def __init__(self, holdout: Holdout, few: Sequence[int], rng: np.random.Generator) -> None:
        self.users, self.few = holdout.users, few
        wanted = sparse.csr_matrix(holdout.given.matrix("binary")[self.users] + holdout.truth.matrix("binary")[self.users])
        row = np.repeat(np.arange(len(self.users)), np.diff(wanted.indptr))
        order = np.lexsort((rng.random(len(row)), row))
        place = np.arange(len(row)) - wanted.indptr[row]
        # Somebody with few items keeps at least half of them to be found.
        most = np.minimum(max(few), np.diff(wanted.indptr) // 2)[row]
        items = wanted.indices[order]
        self.pool, self.place = Histories.from_rows(len(self.users), *_kept(row, items, place < most)), place[place < most]
        rows, found, ones = _kept(row, items, place >= most)
        self.found = sparse.csr_matrix((ones, (rows, found)), shape=wanted.shape)

    def score(self, model: Any, check: Callable[[], object] = lambda: None) -> float:
        """Mean NDCG@20 over the numbers of items shown. check: called between blocks of users, and may raise."""
        out = []
        for n in self.few:
            keep = self.place < n
            shown = Histories.from_rows(len(self.pool), self.pool.row[keep], self.pool.items[keep], self.pool.values[keep])
            for rows in model._batches(len(shown)):
                check()
                part = np.arange(rows.start, rows.stop)
                scores = model.scores_after(shown.take(part), self.users[part])
                scores[self.pool.take(part).row, self.pool.take(part).items] = -np.inf
                out.append(ndcg_at(top_k(scores, K)[0], self.found[part], K))
        return float(np.concatenate(out).mean())


def rating_error(model: Any, holdout: Holdout, check: Callable[[], object] = lambda: None) -> float:
    """RMSE of the ratings held out, by users in training or, where they are new, by what is given of each."""
    truth = holdout.truth
    if holdout.given is None:
        return float(np.sqrt(np.mean((model._rating(truth.user, truth.item) - truth.value) ** 2)))
    users, row = np.unique(truth.user, return_inverse=True)  # those too who liked none of it
    histories, squares = holdout.given.histories(users), 0.0
    for rows in model._batches(len(users)):
        check()
        part, here = np.arange(rows.start, rows.stop), (row >= rows.start) & (row < rows.stop)
        scores = model.scores_after(histories.take(part), users[part])
        squares += float(((scores[row[here] - rows.start, truth.item[here]] - truth.value[here]) ** 2).sum())
    return float(np.sqrt(squares / max(1, len(truth))))


def _kept(row: np.ndarray, items: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return row[keep], items[keep], np.ones(int(keep.sum()), np.float32)
