"""Comparisons: paired differences, segments, chart numbers, the protocol card."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recsys_core import evaluation, registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import from_frame
from recsys_core.data.holdout import Holdout
from recsys_core.data.topk import TopK
from recsys_core.errors import NotFound, Unsupported
from recsys_core.metrics import Catalog, evaluate


def frame(**columns: list[float]) -> pd.DataFrame:
    named = {name.replace("_at_", "@"): values for name, values in columns.items()}
    return pd.DataFrame(named, index=pd.Index(range(len(next(iter(columns.values())))), name="user"))


def lists(items: list[list[int]], users: list[int] | None = None) -> TopK:
    array = np.array(items, dtype=np.int32)
    codes = np.arange(len(items)) if users is None else np.array(users)
    return TopK(codes.astype(np.int32), array, np.where(array >= 0, 1.0, np.nan).astype(np.float32))


# ---- differences ---------------------------------------------------------------------------------
def test_a_clear_difference_and_its_sentence():
    rng = np.random.default_rng(0)
    a = rng.random(500)
    result = evaluation.compare(
        frame(ndcg_at_20=a), frame(ndcg_at_20=a + 0.05 + rng.normal(0, 0.05, 500)), "ndcg@20", names=("EASE", "Fusion")
    )
    assert result.clear and result.better == "Fusion"
    assert result.low < result.difference < result.high and result.difference == pytest.approx(0.05, abs=0.01)
    assert result.wins + result.losses + result.ties == 500 and result.wins > result.losses
    text = result.sentence()
    assert text.startswith("Fusion is better than EASE in NDCG@20 by ") and "500 users, 95 % interval" in text
    assert f"{100 * result.difference / result.mean_a:.1f} %" in text


def test_the_interval_and_p_value_are_scipys():
    rng = np.random.default_rng(1)
    a, b = rng.random(200), rng.random(200) + 0.03
    result = evaluation.compare(frame(recall_at_5=a), frame(recall_at_5=b), "recall@5", n=4000)
    assert result.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue, rel=1e-9)
    theirs = stats.bootstrap((b - a,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(0)).confidence_interval
    assert result.low == pytest.approx(theirs.low, abs=0.006) and result.high == pytest.approx(theirs.high, abs=0.006)


def test_no_clear_difference_says_so():
    rng = np.random.default_rng(2)
    a = rng.random(50)
    result = evaluation.compare(frame(mrr_at_5=a), frame(mrr_at_5=a + rng.normal(0, 0.1, 50)), "mrr@5")
    assert not result.clear and result.better is None and result.sentence().startswith("No clear difference between B and A in MRR@5: ")


def test_equal_runs_have_no_difference():
    same = frame(ndcg_at_5=[0.0, 0.5, 1.0])
    result = evaluation.compare(same, same, "ndcg@5")
    assert (result.difference, result.low, result.high, result.p_value, result.ties) == (0, 0, 0, 1, 3)


def test_where_lower_is_better_the_lower_run_wins():
    result = evaluation.compare(frame(popularity_at_5=[10.0, 12, 11]), frame(popularity_at_5=[5.0, 6, 4]), "popularity@5")
    assert result.better == "B" and result.wins == 3 and "B is better than A in Average popularity@5 by" in result.sentence()


def test_worse_is_told_with_positive_amounts():
    text = evaluation.compare(frame(ndcg_at_5=[0.5, 0.4, 0.6, 0.5]), frame(ndcg_at_5=[0.4, 0.3, 0.5, 0.41]), "ndcg@5").sentence()
    assert text.startswith("B is worse than A in NDCG@5 by 19.5 % (") and "-" not in text


def test_a_zero_baseline_is_told_in_the_metrics_own_unit():
    result = evaluation.compare(frame(recall_at_5=[0.0] * 4), frame(recall_at_5=[0.2, 0.3, 0.1, 0.2]), "recall@5")
    assert math.isnan(result.relative) and " by 0.2 (" in result.sentence()
    json.dumps(result.as_dict(), allow_nan=False)


def test_only_users_measured_by_both_count():
    a, b = frame(ndcg_at_5=[0.1, 0.2, 0.3, np.nan]), frame(ndcg_at_5=[0.2, 0.3, np.nan, 0.4])
    result = evaluation.compare(a, b.drop(index=0), "ndcg@5")
    assert result.n_users == 1 and result.n_left_out == 3 and result.difference == pytest.approx(0.1)


def test_several_runs_against_a_baseline():
    rng = np.random.default_rng(3)
    runs = {name: frame(ndcg_at_5=rng.random(40), recall_at_5=rng.random(40)) for name in ("popular", "ease", "als")}
    found = evaluation.differences(runs, "popular", ["ndcg@5", "recall@5", "absent@5"])
    assert [(d.name_b, d.metric) for d in found] == [("ease", "ndcg@5"), ("ease", "recall@5"), ("als", "ndcg@5"), ("als", "recall@5")]
    alone = evaluation.compare(runs["popular"], runs["als"], "ndcg@5")
    assert (found[2].low, found[2].high, found[2].p_value) == pytest.approx((alone.low, alone.high, alone.p_value))
    with pytest.raises(NotFound, match="no run 'bpr'"):
        evaluation.differences(runs, "bpr", ["ndcg@5"])
    with pytest.raises(Unsupported, match="no per-user values of map@5"):
        evaluation.differences(runs, "popular", ["map@5"])


def test_paired_intervals_hold_the_true_difference_as_often_as_they_say():
    rng = np.random.default_rng(4)
    base = rng.random((250, 1))
    studies = {str(i): base[:, 0] + 0.02 + rng.exponential(0.1, 250) - 0.1 for i in range(400)}
    runs = {"base": frame(recall_at_5=base[:, 0])} | {name: frame(recall_at_5=v) for name, v in studies.items()}
    found = evaluation.differences(runs, "base", ["recall@5"], n=500)
    held = np.mean([d.low <= 0.02 <= d.high for d in found])
    assert 0.91 <= held <= 0.98


# ---- curves and Pareto ---------------------------------------------------------------------------
def test_a_full_curve_is_the_evaluator_at_every_k():
    train = from_frame(pd.DataFrame({"user": ["a", "b", "b"], "item": ["x", "y", "z"]}))
    test = Holdout(train.subset(np.array([1, 2])))
    top = lists([[0, 2, 1]], users=[1])
    found = evaluation.full_curve(top, test, Catalog(train), "recall")
    assert found["k"].tolist() == [1, 2, 3] and found["value"].tolist() == [0, 0.5, 1]


def test_pareto_front_by_hand():
    points = np.array([[1, 5], [2, 4], [2, 3], [3, 1], [0, 5], [np.nan, 9]])
    assert evaluation.pareto_front(points, [True, True]).tolist() == [True, True, False, True, False, False]
    assert evaluation.pareto_front(points, [True, False]).tolist() == [False, False, False, True, False, False]
    assert evaluation.pareto_front(np.array([[1, 1], [1, 1]]), [True, True]).tolist() == [True, True]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
def test_pareto_front_is_what_the_definition_says(points):
    front = evaluation.pareto_front(np.array(points), [True, False, True])
    flipped = [(a, -b, c) for a, b, c in points]

    def beaten(p):
        return any(q != p and all(x >= y for x, y in zip(q, p, strict=True)) for q in flipped)

    assert front.tolist() == [not beaten(p) for p in flipped]
    assert front.any()


# ---- exposure and overlap ------------------------------------------------------------------------
def test_lorenz_of_equal_and_of_unequal_exposure():
    curve, index = evaluation.lorenz(np.ones(10))
    assert np.allclose(curve["exposure_share"], curve["items_share"]) and index == pytest.approx(0)
    curve, index = evaluation.lorenz(np.array([0, 0, 0, 4]))
    assert curve["exposure_share"].tolist() == [0, 0, 0, 0, 1] and index == pytest.approx(0.75)
    with pytest.raises(Unsupported, match="no exposure"):
        evaluation.lorenz(np.zeros(3))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=80).filter(any))
def test_lorenz_rises_below_the_diagonal_and_its_area_is_gini(counts):
    curve, index = evaluation.lorenz(np.array(counts), points=len(counts))
    x, y = curve["items_share"].to_numpy(), curve["exposure_share"].to_numpy()
    assert (y <= x + 1e-9).all() and (np.diff(y) >= -1e-12).all() and (x[0], y[0], x[-1]) == (0, 0, 1)
    assert 1 - 2 * np.trapezoid(y, x) == pytest.approx(index, abs=1e-9)


def test_exposure_is_cut_at_k():
    top = lists([[0, 1, -1], [0, 2, 1]])
    assert evaluation.exposure(top, 4).tolist() == [2, 2, 1, 0] and evaluation.exposure(top, 4, 1).tolist() == [2, 0, 0, 0]


def test_overlap_by_hand():
    tops = {
        "a": lists([[0, 1], [2, 3]]),
        "b": lists([[1, 0], [2, 4]]),
        "c": lists([[5, -1], [0, 1]], users=[1, 9]),
        "d": lists([[0, 1]], users=[50]),
    }
    found = evaluation.overlap_matrix(tops, 2)
    assert found.loc["a", "b"] == pytest.approx((1 + 1 / 3) / 2)
    assert found.loc["a", "c"] == 0 and math.isnan(found.loc["a", "d"])
    assert np.diag(found).tolist() == [1, 1, 1, 1]


def test_overlap_against_sets():
    rng = np.random.default_rng(6)
    tops = {name: lists([rng.permutation(30)[:10].tolist() for _ in range(50)], users=rng.permutation(80)[:50].tolist()) for name in "abc"}
    found = evaluation.overlap_matrix(tops, 7)
    for a, b in combinations("abc", 2):
        sets = [dict(zip(tops[n].users.tolist(), (set(row[:7].tolist()) for row in tops[n].items), strict=True)) for n in (a, b)]
        expected = np.mean([len(sets[0][u] & sets[1][u]) / len(sets[0][u] | sets[1][u]) for u in sets[0].keys() & sets[1].keys()])
        assert found.loc[a, b] == found.loc[b, a] == pytest.approx(expected)


# ---- segments ------------------------------------------------------------------------------------
def test_users_fall_into_thirds_and_equal_users_stay_together():
    found = evaluation.by_activity(np.array([1, 2, 3, 10, 11, 12, 100, 200, 300]), np.arange(9))
    assert found.names == ("light (1–3 items)", "medium (10–12 items)", "heavy (100–300 items)") and found.sizes.tolist() == [3, 3, 3]
    assert evaluation.by_activity(np.full(5, 4), np.arange(5)).names == ("light (4 items)",)
    assert len(evaluation.by_activity(np.full(5, 4), np.empty(0, int))) == 0
    some = evaluation.by_activity(np.array([1, 50, 3, 70]), np.array([0, 2]))
    assert some.names == ("light (1 item)", "medium (3 items)") and some.sizes.sum() == 2, "those not asked for are in no group"


def test_items_fall_into_head_mid_and_tail_by_interactions():
    found = evaluation.by_item_popularity(np.array([5, 50, 30, 10, 5, 0]))
    assert [found.names[g] for g in found.member.indices] == ["rare", "popular", "in-between", "rare", "rare", "rare"]


def test_hits_by_popularity_by_hand():
    """Held out: items 0 and 2 of one user, 1, 2 and 3 of the other; the first two of the lists are [0, 1] and [2, 0]."""
    truth = from_frame(pd.DataFrame({"user": ["a", "a", "b", "b", "b"], "item": [0, 2, 1, 2, 3]}))
    top = TopK(np.arange(2, dtype=np.int32), np.array([[0, 1, 2], [2, 0, 3]], dtype=np.int32), np.zeros((2, 3), np.float32))
    found = evaluation.by_item_group(top, Holdout(truth), evaluation.by_item_popularity(np.array([50, 30, 20, 0])), 2).set_index("group")
    assert found.index.tolist() == ["popular", "in-between", "rare"] and found["n_items"].tolist() == [1, 1, 2]
    assert found["n_relevant"].tolist() == [1, 1, 3] and found["n_hits"].tolist() == [1, 0, 1]
    assert found["recall"].tolist() == pytest.approx([1, 0, 1 / 3]) and not found["enough"].any()
    assert found["share_of_places"].tolist() == [0.5, 0.25, 0.25]


# ---- protocol ------------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["random", "leave_last", "global_time", "cold_users", "kfold"])
def test_the_card_says_how_figures_were_made_and_its_counts_add_up(key):
    rng = np.random.default_rng(8)
    rows = pd.DataFrame(
        {
            "user": rng.integers(0, 30, 500),
            "item": rng.integers(0, 40, 500),
            "value": rng.integers(1, 6, 500),
            "time": rng.integers(0, 99, 500),
        }
    )
    data = from_frame(rows, value="value", time="time", feedback="explicit", threshold=4, name="toy")
    splitter = registry.get("splitter", key)()
    split = next(iter(splitter.splits(data, RunContext())))
    card = evaluation.protocol_card(split, splitter, data, [5, 20], seed=42, uses_validation=True, refitted=True, notes=["One more."])
    card = json.loads(json.dumps(card, allow_nan=False))
    counts = card["interactions"]
    assert counts["training"] + counts["test"] + counts["given of new users"] + sum(counts["skipped"].values()) == 500
    assert card["users_evaluated"] == len(split.test.users)
    assert card["users_evaluated"] + card["users_not_evaluated"] <= data.n_users
    assert card["split"]["rule"] == splitter.describe() and card["notes"][-1] == "One more."
    assert set(card["definitions"]) == set(registry.keys("metric"))
    assert "at least 4" in card["relevance"] and f"{data.n_items} items" in card["candidates"]
    facts = evaluation.card_facts(card)
    assert facts["List lengths k"] == "5, 20" and facts["Seed"] == "42" and all(isinstance(v, str) and v for v in facts.values())
    assert "fitted again" in facts["Validation"]


def test_the_card_tells_apart_models_without_validation_and_own_test_files():
    data = from_frame(pd.DataFrame({"user": list("aaabbb"), "item": list("xyzxyz")}))
    splitter = registry.get("splitter", "own_test")()
    split = next(iter(registry.get("splitter", "random")().splits(data, RunContext())))
    assert "Not used" in evaluation.protocol_card(split, splitter, data, [5], uses_validation=False)["validation"]
    assert "training file's own rule" in evaluation.protocol_card(split, splitter, data, [5])["validation"]


# ---- from lists to verdict -----------------------------------------------------------------------
def test_a_better_ranking_is_found_better_end_to_end():
    rng = np.random.default_rng(9)
    truth = np.sort(rng.permuted(np.tile(np.arange(50), (120, 1)), axis=1)[:, :4], axis=1)
    rows = pd.DataFrame({"user": np.repeat(np.arange(120), 4), "item": truth.ravel()})
    held_out = Holdout(from_frame(rows))
    codes = held_out.truth.items.encode(range(50))
    by_user = held_out.truth.users.encode(range(120))
    good = np.concatenate([truth[:, :2], rng.integers(0, 50, (120, 3))], axis=1)
    random = rng.permuted(np.tile(np.arange(50), (120, 1)), axis=1)[:, :5]
    catalog = Catalog(held_out.truth)
    runs = {
        name: evaluate(TopK(by_user, codes[items], np.zeros(items.shape, np.float32)), held_out, catalog, [5]).per_user
        for name, items in (("random", random), ("good", good))
    }
    verdict = evaluation.compare(runs["random"], runs["good"], "ndcg@5", names=("random", "good"))
    assert verdict.better == "good" and verdict.n_users == 120 and verdict.p_value < 1e-6
