"""Accuracy–diversity curves: the paired change of every point; items a method wants among the candidates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recsys_core.data.dataset import from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.topk import TopK
from recsys_core.evaluation.tradeoff import shaped, tradeoff, with_wanted
from recsys_core.metrics import evaluate
from recsys_core.rerank._base import Shelf


def test_the_change_is_the_difference_to_the_same_users_list_at_strength_0() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"u{u:02}", f"i{i:02}") for u in range(40) for i in rng.choice(30, 8, replace=False)]
    data = from_frame(pd.DataFrame(rows, columns=["user", "item"]))
    held = np.arange(len(data)) % 8 == 0
    holdout, shelf = Holdout(data.subset(held)), Shelf(data.subset(~held))
    users = holdout.users
    scores = np.sort(rng.random((len(users), 30)).astype(np.float32), axis=1)[:, ::-1]
    items = np.argsort(rng.random((len(users), 30)), axis=1).astype(np.int32)
    candidates = TopK(users, items, scores)
    points = tradeoff(candidates, holdout, shelf, "mmr", {}, (0.0, 0.7), 5, ["ndcg", "intra_list_diversity"])
    before, after = (
        evaluate(shaped(candidates, 5, shelf, "mmr", {}, strength), holdout, shelf.catalog, [5], metrics=["ndcg", "intra_list_diversity"])
        for strength in (0.0, 0.7)
    )
    assert points[0]["change"]["ndcg@5"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    for name in ("ndcg@5", "intra_list_diversity@5"):
        gap = (after.per_user[name] - before.per_user[name]).to_numpy()
        found = points[1]["change"][name]
        assert np.isclose(found["mean"], gap.mean())
        draws = gap[np.random.default_rng(1).integers(0, len(gap), (4000, len(gap)))].mean(axis=1)
        assert np.allclose([found["low"], found["high"]], np.quantile(draws, [0.025, 0.975]), atol=0.15 * gap.std())
    assert points[1]["change"]["intra_list_diversity@5"]["low"] > 0, "variety surely rises"
    assert tradeoff(candidates, holdout, shelf, "mmr", {}, (0.7,), 5, ["ndcg"])[0]["change"] == {}


def test_wanted_items_stand_behind_the_candidates_unless_the_user_had_them() -> None:
    items = np.array([[4, 0, -1], [5, 2, 3], [-1, -1, -1]], dtype=np.int32)
    scores = np.array([[3, 1, np.nan], [9, 8, 7], [np.nan] * 3], dtype=np.float32)
    had = Histories.from_lists([[6], [1], []])
    found = with_wanted(TopK(np.arange(3, dtype=np.int32), items, scores), np.array([6, 0, 2, 6]), had, 8)
    assert found.items.tolist() == [[4, 0, 2, -1, -1, -1], [5, 2, 3, 0, 6, -1], [-1] * 6]
    assert np.array_equal(found.scores[:2], np.array([[3, 1, 1] + [np.nan] * 3, [9, 8, 7, 7, 7, np.nan]], np.float32), equal_nan=True)
