"""Fairness of quality and of exposure: by hand, against slow loops, and how often a gap is called where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from recsys_core import evaluation
from recsys_core.data.dataset import from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.data.topk import TopK
from recsys_core.errors import Unsupported
from recsys_core.evaluation.groups import Grouping
from recsys_core.evaluation.segments import ratio_intervals

NDCG = "ndcg@10"


def frame(values) -> pd.DataFrame:
    return pd.DataFrame({NDCG: np.asarray(values, dtype=float)}, index=pd.RangeIndex(len(values), name="user"))


def lists(items: list[list[int]]) -> TopK:
    array = np.array(items, dtype=np.int32)
    return TopK(np.arange(len(items), dtype=np.int32), array, np.where(array >= 0, 1.0, np.nan).astype(np.float32))


def parted(codes, names="abcdef", side="user") -> Grouping:
    return Grouping.of_codes("plan", side, np.asarray(codes), list(names), saying="plan {}")


# ---- quality -----------------------------------------------------------------------------------------
def test_the_gap_is_that_of_the_best_and_the_worst_group_with_a_corrected_test():
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1, 2, 3], [200, 150, 100, 5])
    values = rng.random(455) * 0.5 + np.array([0.1, 0.3, 0.2, 5.0])[code]
    found = evaluation.quality_fairness(frame(values), parted(code), NDCG)
    assert (found.best, found.worst) == ("b", "a"), "group d has five users: too few to tell"
    assert found.table["enough"].tolist() == [True, True, True, False] and math.isnan(found.table["low"][3])
    means = [values[code == g].mean() for g in range(3)]
    assert found.gap == pytest.approx(means[1] - means[0]) and found.low < found.gap < found.high
    pairs = [(0, 1), (0, 2), (1, 2)]
    p = [stats.ttest_ind(values[code == a], values[code == b], equal_var=False).pvalue for a, b in pairs]
    assert found.p_holm == pytest.approx(multipletests(p, method="holm")[1][0])
    theirs = stats.bootstrap(
        (values[code == 1], values[code == 0]),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.006)
    assert found.clear and found.sentence("ALS").startswith("ALS serves plan b better than plan a: a gap of 0.")
    assert replace(found, p_holm=0.2).sentence().endswith("of the mean; not clear once corrected for all pairs of groups.")


def test_where_lower_is_better_the_lowest_is_served_best():
    metric = "popularity@10"
    values = pd.DataFrame({metric: np.repeat([10.0, 30.0], 40) + np.tile([0.0, 1.0], 40)})
    found = evaluation.quality_fairness(values, parted(np.repeat([0, 1], 40)), metric)
    assert (found.best, found.gap) == ("a", pytest.approx(20))


def test_one_group_alone_and_groups_of_items_have_no_gap():
    found = evaluation.quality_fairness(frame(np.ones(50)), parted(np.zeros(50, int)), NDCG)
    assert found.best is None and not found.clear and "not two groups" in found.sentence()
    same = evaluation.quality_fairness(frame(np.ones(80)), parted(np.repeat([0, 1], 40)), NDCG)
    assert (same.gap, same.p_holm) == (0, 1) and not same.clear and "no clear gap" in same.sentence()
    with pytest.raises(Unsupported, match="groups of items"):
        evaluation.quality_fairness(frame(np.ones(50)), parted(np.zeros(50, int), side="item"), NDCG)


def test_a_gap_is_seldom_called_where_all_groups_are_alike():
    """Six groups, the best and the worst of which are chosen after the fact: 200 draws, as zero-inflated as NDCG is."""
    rng = np.random.default_rng(1)
    grouping = parted(np.arange(360) % 6)
    clear = outside = 0
    for _ in range(200):
        values = np.where(rng.random(360) < 0.5, 0, rng.random(360))
        found = evaluation.quality_fairness(frame(values), grouping, NDCG, n=200)
        clear += found.clear
        outside += found.low > 0
    assert clear <= 0.09 * 200 < outside, "without the correction most of the chosen extremes would be called a gap"


def test_users_in_two_groups_are_resampled_once():
    member = np.zeros((80, 2), bool)
    member[:60, 0] = member[20:, 1] = True
    from scipy import sparse

    grouping = Grouping("tags", "user", ("x", "y"), sparse.csr_matrix(member))
    values = np.r_[np.zeros(20), np.tile([0.0, 1.0], 20), np.ones(20)]
    found = evaluation.by_group(frame(values), grouping, NDCG)
    assert found["n_users"].tolist() == [60, 60] and found["mean"].tolist() == pytest.approx([20 / 60, 40 / 60])


# ---- exposure ----------------------------------------------------------------------------------------
def test_exposure_by_hand():
    """Items 0, 1 in a; 2 in b; 3 in both; 4 in none. Places count 1 and 1 / log2(3)."""
    from scipy import sparse

    member = sparse.csr_matrix(np.array([[1, 0], [1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool))
    grouping = Grouping("genre", "item", ("a", "b"), member, "{}")
    found = evaluation.exposure_fairness(lists([[0, 2], [3, -1], [4, 1]]), grouping, np.array([6, 1, 2, 2, 9]), 2)
    second = 1 / math.log2(3)
    a, b = 1 + 0.5 + second, second + 0.5
    table = found.table
    assert table["exposure"].tolist() == pytest.approx([a / (a + b), b / (a + b)])
    assert table["catalogue"].tolist() == pytest.approx([2.5 / 4, 1.5 / 4]) and table["interactions"].tolist() == pytest.approx(
        [8 / 11, 3 / 11]
    )
    ratios = [a / (a + b) / (8 / 11), b / (a + b) / (3 / 11)]
    assert found.ratio_interactions == pytest.approx(max(ratios) / min(ratios))
    assert found.distance_interactions == pytest.approx(abs(a / (a + b) - 8 / 11))
    assert found.distance_catalogue == pytest.approx(abs(a / (a + b) - 2.5 / 4))


def test_exposure_against_a_slow_loop():
    rng = np.random.default_rng(2)
    top = lists([rng.permutation(40)[:12].tolist() for _ in range(60)])
    code, popularity = rng.integers(0, 4, 40), rng.integers(1, 50, 40)
    found = evaluation.exposure_fairness(top, parted(code, side="item"), popularity, 10)
    expected = np.zeros(4)
    for row in top.items:
        for place, item in enumerate(row[:10], start=1):
            expected[code[item]] += 1 / math.log2(1 + place)
    expected /= expected.sum()
    assert found.table["exposure"].tolist() == pytest.approx(expected.tolist())
    chosen = np.bincount(code, popularity) / popularity.sum()
    assert found.distance_interactions == pytest.approx(np.abs(expected - chosen).sum() / 2)
    assert ((found.table["low"] <= expected) & (expected <= found.table["high"])).all()


def test_lists_in_proportion_are_called_fair_and_others_named():
    rng = np.random.default_rng(3)
    fair = evaluation.exposure_fairness(
        lists([rng.permutation(20)[:10].tolist() for _ in range(300)]), parted(np.arange(20) % 2, side="item"), np.ones(20), 10
    )
    assert "no group is clearly off" in fair.sentence("ALS") and fair.ratio_catalogue < 1.1
    unfair = evaluation.exposure_fairness(lists([[0, 2, 4]] * 50), parted(np.arange(20) % 2, side="item"), np.ones(20), 10)
    assert unfair.ratio_catalogue == math.inf and unfair.distance_interactions == pytest.approx(0.5)
    assert "plan a, 100 % of it for 50 % of the interactions; plan b, 0 % of it" in unfair.sentence("ALS")


def test_exposure_needs_items_and_something_shown():
    with pytest.raises(Unsupported, match="groups of users"):
        evaluation.exposure_fairness(lists([[0]]), parted([0]), np.ones(1), 1)
    with pytest.raises(Unsupported, match="no exposure to share"):
        evaluation.exposure_fairness(lists([[-1]]), parted([0], side="item"), np.ones(1), 1)


# ---- items by group ----------------------------------------------------------------------------------
def test_what_is_found_of_each_group_of_items_against_a_slow_loop():
    rng = np.random.default_rng(4)
    truth = from_frame(
        pd.DataFrame({"user": np.repeat(np.arange(50), 4), "item": np.concatenate([rng.permutation(30)[:4] for _ in range(50)])})
    )
    holdout = Holdout(truth)
    top = lists([rng.permutation(30)[:8].tolist() for _ in range(50)])
    table = pd.DataFrame({"genres": ["Drama|Crime", "Drama", "Comedy"] * 10})
    grouping = evaluation.by_column(table, "genres", "item", 30)
    found = evaluation.by_item_group(top, holdout, grouping, 5).set_index("group")
    for name in grouping.names:
        members = {i for i, cell in enumerate(table["genres"]) if name in cell.split("|")}
        wanted = [(u, i) for u, i in zip(truth.user.tolist(), truth.item.tolist(), strict=True) if int(truth.items.ids[i]) in members]
        hits = sum(i in top.items[u, :5] for u, i in wanted)
        codes = {i for i in range(30) if i in members}
        assert found.loc[name, "n_relevant"] == len([1 for i in truth.item if i in codes])
        assert found.loc[name, "share_of_places"] == pytest.approx(np.isin(top.items[:, :5], list(codes)).mean())
        direct = [(u, i) for u, i in zip(truth.user.tolist(), truth.item.tolist(), strict=True) if i in codes]
        hits = sum(i in top.items[u, :5] for u, i in direct)
        assert (
            found.loc[name, "recall"] == pytest.approx(hits / len(direct))
            and found.loc[name, "low"] <= hits / len(direct) <= found.loc[name, "high"]
        )


def test_ratio_intervals_hold_the_truth_and_their_limit_agrees():
    rng = np.random.default_rng(6)
    bottom = rng.integers(1, 6, (200, 1000)).astype(float)
    top = rng.binomial(bottom.astype(int), 0.3).astype(float)
    low, high = ratio_intervals(top, bottom)
    held = ((low <= 0.3) & (high >= 0.3)).mean()
    assert 0.93 <= held <= 0.97
    many_b = rng.integers(1, 6, (60_000, 1)).astype(float)
    many_t = rng.binomial(many_b.astype(int), 0.3).astype(float)
    limit = ratio_intervals(many_t, many_b)
    drawn = ratio_intervals(many_t[:50_000], many_b[:50_000])
    assert float(limit[1][0] - limit[0][0]) == pytest.approx(float(drawn[1][0] - drawn[0][0]) * math.sqrt(50_000 / 60_000), rel=0.1)
    assert np.isnan(ratio_intervals(np.zeros((5, 1)), np.zeros((5, 1)))[0]).all()
