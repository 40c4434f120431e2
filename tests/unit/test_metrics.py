"""Metrics on lists small enough to work out by hand, and the evaluator around them."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core import registry
from recsys_core.data.dataset import Dataset
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK
from recsys_core.errors import NotFound, ParamError
from recsys_core.metrics import Catalog, Evaluation, evaluate
from recsys_core.metrics._base import Metric
from recsys_core.metrics._bootstrap import bootstrap_means, mean_intervals
from recsys_core.metrics._catalog import category_features, head_size
from recsys_core.metrics._quick import ndcg_at
from recsys_core.metrics.gini import gini

KEYS = registry.keys("metric")


def data(pairs: list[tuple[int, int]], n_users: int = 3, n_items: int = 6, **more) -> Dataset:
    user, item = (np.array(side, dtype=np.int32) for side in zip(*pairs, strict=True)) if pairs else (np.empty(0, np.int32),) * 2
    values = more.pop("value", np.ones(len(pairs), np.float32))
    return Dataset(IdMap(range(n_users)), IdMap(range(n_items)), user, item, values, **more)


def lists(items: list[list[int]], users: list[int] | None = None) -> TopK:
    array = np.array(items, dtype=np.int32)
    codes = np.arange(len(items)) if users is None else np.array(users)
    return TopK(codes.astype(np.int32), array, np.where(array >= 0, 1.0, np.nan).astype(np.float32))


# Popularity of items 0 … 5 in training: 3, 2, 1, 0, 0, 0.
TRAIN = data([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2)])
TEST = Holdout(data([(0, 2), (0, 3), (1, 2), (2, 1), (2, 3), (2, 4)]))
TOP = lists([[2, 4, 3], [5, 4, 3], [1, 3, 5]])


def values(metric: str, top: TopK = TOP, test: Holdout = TEST, train: Dataset = TRAIN, k: int = 3) -> list[float]:
    return evaluate(top, test, Catalog(train), [k], metrics=[metric]).per_user[f"{metric}@{k}"].tolist()


def overall(metric: str, top: TopK = TOP, test: Holdout = TEST, train: Dataset = TRAIN, k: int = 3) -> float:
    return evaluate(top, test, Catalog(train), [k], metrics=[metric]).overall[f"{metric}@{k}"]


# ---- accuracy ------------------------------------------------------------------------------------
def test_precision_recall_f1_hit_rate():
    assert values("precision") == pytest.approx([2 / 3, 0, 2 / 3])
    assert values("recall") == pytest.approx([1, 0, 2 / 3])
    assert values("f1") == pytest.approx([0.8, 0, 2 / 3])
    assert values("hit_rate") == [1, 0, 1]


def test_the_two_f1_differ():
    precision, recall = 4 / 9, 5 / 9
    assert overall("f1_of_means") == pytest.approx(2 * precision * recall / (precision + recall))
    assert np.mean(values("f1")) == pytest.approx((0.8 + 2 / 3) / 3)


def test_ndcg_by_hand():
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    assert values("ndcg") == pytest.approx([(1 + third) / (1 + second), 0, (1 + second) / (1 + second + third)])


def test_ndcg_ideal_is_cut_at_k():
    assert values("ndcg", lists([[2, 3], [2, 0], [1, 3]]), k=2) == pytest.approx([1, 1, 1])
    assert values("ndcg", lists([[2], [2], [4]]), k=1) == [1, 1, 1]


def test_map_by_hand():
    assert values("map") == pytest.approx([(1 + 2 / 3) / 2, 0, (1 + 1) / 3])
    assert values("map", lists([[2], [2], [1]]), k=1) == [1, 1, 1]


def test_mrr_by_hand():
    assert values("mrr", lists([[4, 5, 3], [5, 4, 3], [0, 1, 5]])) == pytest.approx([1 / 3, 0, 1 / 2])


def test_auc_by_hand():
    # User 0 has seen 0, 1; relevant 2, 3; wrong 4, 5 (N = 2). The list is 2, 4, 3: hit, wrong, hit.
    # Item 2 beats both wrong ones, item 3 stands below 4 and above 5: (2 + 1) / (2 · 2).
    # User 1: relevant 2; wrong 3, 4, 5, all listed: item 2 loses to all of them: 0.
    # User 2 has seen 0, 2; relevant 1, 3, 4; wrong 5 only (N = 1), listed third: two win, the missed one loses.
    assert values("auc") == pytest.approx([3 / 4, 0, 2 / 3])


def test_auc_of_an_empty_list_is_one_half():
    assert values("auc", lists([[-1, -1, -1]] * 3)) == [0.5, 0.5, 0.5]


# ---- beyond accuracy -----------------------------------------------------------------------------
def test_coverage_gini_entropy():
    same = lists([[0, 1, 2]] * 3)
    assert overall("coverage", same) == 0.5
    assert overall("gini", same) == pytest.approx(0.5)  # half the items share everything equally
    assert overall("entropy", same) == pytest.approx(math.log2(3))
    every = lists([[0, 1], [2, 3], [4, 5]])
    assert overall("coverage", every, k=2) == 1 and overall("gini", every, k=2) == pytest.approx(0)
    assert overall("entropy", every, k=2) == pytest.approx(math.log2(6))
    assert overall("entropy", lists([[0], [0], [0]]), k=1) == 0


def test_gini_limits():
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(np.ones(9)) == pytest.approx(0)
    assert math.isnan(gini(np.zeros(3))) and math.isnan(gini(np.empty(0)))


def test_novelty_and_popularity():
    assert values("popularity", lists([[0, 1, 2], [0, 1, -1], [-1, -1, -1]])) == pytest.approx([2, 2.5, math.nan], nan_ok=True)
    informations = [0, math.log2(3 / 2), math.log2(3)]
    assert values("novelty", lists([[0, 1, 2], [3, 4, 5], [0, 0, 0]])) == pytest.approx([np.mean(informations), math.log2(3), 0])


def test_long_tail_is_what_lies_outside_80_percent():
    assert head_size(np.array([50, 30, 10, 5, 5]), 0.8) == 2
    assert head_size(np.array([50, 29, 11, 5, 5]), 0.8) == 3
    assert head_size(np.zeros(4), 0.8) == 0
    # 3 + 2 of the 6 interactions are 83 %: items 0 and 1 are the head.
    assert values("long_tail_share", lists([[0, 1, 2], [3, 4, 5], [0, 1, -1]])) == pytest.approx([1 / 3, 1, 0])


def test_personalisation_by_hand():
    assert overall("personalisation", lists([[0, 1, 2]] * 3)) == pytest.approx(0)
    assert overall("personalisation", lists([[0, 1], [2, 3], [4, 5]]), k=2) == pytest.approx(1)
    # Overlaps of the pairs: 1/2, 0, 1/2.
    assert overall("personalisation", lists([[0, 1], [1, 2], [2, 3]]), k=2) == pytest.approx(2 / 3)


def test_diversity_by_categories():
    table = pd.DataFrame({"genres": ["A", "A", "B", "A|B", "", None]})
    train = data([(0, 0), (1, 1)], item_table=table)
    found = values("intra_list_diversity", lists([[0, 1, 2], [0, 3, -1], [0, 4, 5]]), train=train)
    # Pairs A-A 0, A-B 1, A-B 1; then A against A|B: 1 - 1/√2; items without a category make no pair.
    assert found == pytest.approx([2 / 3, 1 - 1 / math.sqrt(2), math.nan], nan_ok=True, abs=1e-6)


def test_diversity_without_categories_uses_co_occurrence_and_says_so():
    # Items 0 and 1 always together, item 2 with other users.
    train = data([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)])
    evaluation = evaluate(lists([[0, 1], [0, 2], [3, 4]]), TEST, Catalog(train), [2], metrics=["intra_list_diversity"])
    assert evaluation.per_user["intra_list_diversity@2"].tolist() == pytest.approx([0, 1, math.nan], nan_ok=True, abs=1e-5)
    assert evaluation.notes == ("Diversity within a list is measured by co-occurrence in training.",)


def test_categories_come_from_the_column_ingest_named():
    table = pd.DataFrame({"kind": ["a|b", "b", "c"], "genres": ["x", "x", "x"]})
    assert category_features(table, {"item_columns": {"categories": ["kind"]}}).shape == (3, 3)
    assert category_features(table, {"item_columns": {"categories": "kind"}}).shape == (3, 3)
    assert category_features(table, {}).shape == (3, 1)
    blanks = pd.DataFrame({"class": ["War Drama", "Drama", "War  Comedy"]})
    assert category_features(blanks, {"item_columns": {"categories": "class", "separator": " "}}).shape == (3, 3)
    phrases = category_features(pd.DataFrame({"class": ["Home audio", "Toys", "Home audio"]}), {"item_columns": {"categories": "class"}})
    assert phrases.shape == (3, 2)
    assert category_features(pd.DataFrame({"title": ["x"]}), {}) is None and category_features(None, {}) is None


def test_serendipity_counts_hits_popularity_would_not_give():
    # Popular unseen for user 0 (seen 0, 1): 2, 3, 4 …: at k = 1 item 2 is expected, item 3 is not.
    # For user 2 (seen 0, 2): 1, 3, 4 …: item 4 at k = 1 is a surprise.
    assert values("serendipity", lists([[2], [2], [4]]), k=1) == [0, 0, 1]
    assert values("serendipity", lists([[3], [5], [1]]), k=1) == [1, 0, 0]
    assert values("serendipity", lists([[3, 2], [5, 2], [4, 1]]), k=2) == pytest.approx([0, 0, 0.5])


def test_rating_errors_only_with_predictions():
    held_out = Holdout(data([(0, 1), (0, 2), (1, 1)], value=np.array([4, 2, 5], np.float32)))
    top = lists([[1], [1]])
    figures = evaluate(top, held_out, Catalog(TRAIN), [1], ratings=np.array([3, 2, 3])).overall
    assert figures["rmse"] == pytest.approx(math.sqrt(5 / 3)) and figures["mae"] == pytest.approx(1)
    assert "rmse" not in evaluate(top, held_out, Catalog(TRAIN), [1]).overall
    with pytest.raises(ParamError, match="one predicted rating per held-out interaction"):
        evaluate(top, held_out, Catalog(TRAIN), [1], ratings=np.ones(2))


# ---- the evaluator -------------------------------------------------------------------------------
def test_lists_are_matched_by_user_and_a_missing_user_counts_as_misses():
    evaluation = evaluate(lists([[1, 3, 5], [9, 9, 9], [2, 4, 3]], users=[2, 77, 0]), TEST, Catalog(TRAIN), [3])
    assert evaluation.per_user.index.tolist() == [0, 1, 2]
    assert evaluation.per_user["recall@3"].tolist() == pytest.approx([1, 0, 2 / 3])
    assert any("1 of 3 users have no list" in note for note in evaluation.notes)


def test_a_repeated_item_counts_once():
    assert values("precision", lists([[2, 2, 2], [2, 2, 5], [1, 1, 3]])) == pytest.approx([1 / 3, 1 / 3, 2 / 3])


def test_only_relevant_interactions_are_hits_and_only_their_users_are_measured():
    held_out = Holdout(data([(0, 2), (0, 3), (1, 2)], value=np.array([5, 1, 2], np.float32), feedback="explicit", threshold=4.0))
    evaluation = evaluate(lists([[3, 2], [2, 3]]), held_out, Catalog(TRAIN), [2])
    assert evaluation.per_user.index.tolist() == [0]
    assert evaluation.per_user["precision@2"].tolist() == [0.5] and evaluation.per_user["recall@2"].tolist() == [1]


def test_cold_users_are_judged_by_the_history_they_were_given():
    given = data([(2, 1), (2, 2), (2, 3)])
    cold = Holdout(data([(2, 4)]), given)
    # Candidates are all but 1, 2, 3; wrong ones 0 and 5; the list has one of them above the hit.
    assert values("auc", lists([[5, 4]], users=[2]), cold, k=2) == pytest.approx([0.5])


def test_every_metric_at_every_k_within_its_range():
    rng = np.random.default_rng(0)
    n_users, n_items = 40, 60
    pairs = np.unique(rng.integers(0, n_users * n_items, 900))
    cut = rng.random(len(pairs)) < 0.7
    as_pairs = lambda keys: list(zip(*np.divmod(keys, n_items), strict=True))  # noqa: E731
    train, test = data(as_pairs(pairs[cut]), n_users, n_items), Holdout(data(as_pairs(pairs[~cut]), n_users, n_items))
    top = lists([rng.permutation(n_items)[:20].tolist() for _ in range(n_users)])
    evaluation = evaluate(top, test, Catalog(train), [20, 5, 10], ratings=np.ones(len(test.truth)))
    means = evaluation.means()
    for key, metric in registry.all_of("metric").items():
        names = [key] if metric.kind == "rating" else [f"{key}@{k}" for k in (5, 10, 20)]
        for name in names:
            low, high = metric.range
            assert low <= means[name] <= (math.inf if high is None else high), name
            assert (name in evaluation.per_user) == metric.per_user
    assert evaluation.ks == (5, 10, 20)


@pytest.mark.parametrize("key", KEYS)
def test_every_metric_explains_itself(key):
    metric: type[Metric] = registry.get("metric", key)
    assert metric.key == key and metric.label and metric.formula and len(metric.help) > 20 and metric.help.endswith(".")
    assert metric.kind in ("accuracy", "beyond", "rating")


def test_bad_k_and_unknown_metric_are_refused_in_words():
    for ks in ([4], [0], []):
        with pytest.raises(ParamError, match="from 1 to the length of the lists, 3"):
            evaluate(TOP, TEST, Catalog(TRAIN), ks)
    with pytest.raises(NotFound, match="ndgc"):
        evaluate(TOP, TEST, Catalog(TRAIN), [3], metrics=["ndgc"])


def test_no_users_gives_an_empty_result_not_an_error():
    evaluation = evaluate(TOP, Holdout(data([])), Catalog(TRAIN), [3])
    assert evaluation.n_users == 0 and all(math.isnan(v) or v == 0 for v in evaluation.means().values())
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_to_json_is_plain_and_complete():
    plain = json.loads(json.dumps(evaluate(TOP, TEST, Catalog(TRAIN), [1, 3]).to_json(), allow_nan=False))
    assert plain["ks"] == [1, 3] and plain["n_users"] == 3
    assert plain["means"]["recall@3"] == pytest.approx(5 / 9)
    low, high = plain["intervals"]["recall@3"]
    assert low <= 5 / 9 <= high


def test_quick_ndcg_is_the_evaluators():
    assert ndcg_at(TOP.items, TEST.relevant, 3).tolist() == pytest.approx(values("ndcg"))
    assert ndcg_at(TOP.items, TEST.relevant, 2).tolist() == pytest.approx(values("ndcg", k=2))
    assert np.isnan(ndcg_at(TOP.items, sparse.csr_matrix((3, 6), dtype=np.float32), 3)).all()


# ---- intervals -----------------------------------------------------------------------------------
def test_bootstrap_means_have_the_standard_error_of_the_mean():
    sample = np.random.default_rng(1).gamma(2, size=(400, 1))
    means = bootstrap_means(sample, n=4000, seed=0)
    assert means.mean() == pytest.approx(sample.mean(), abs=0.01)
    assert means.std() == pytest.approx(sample.std() / math.sqrt(400), rel=0.05)


def test_intervals_are_reproducible_paired_and_leave_out_what_is_not_defined():
    frame = pd.DataFrame({"a@1": [1.0, 0, 1, 0, np.nan], "b@1": [np.nan] * 5, "c@1": [2.0] * 5})
    evaluation = Evaluation(frame, {}, (1,))
    first, again = evaluation.intervals(seed=3), evaluation.intervals(seed=3)
    assert first["a@1"] == again["a@1"] and first["c@1"] == (2, 2)
    assert 0 <= first["a@1"][0] < 0.5 < first["a@1"][1] <= 1
    assert all(math.isnan(end) for end in first["b@1"])
    assert evaluation.means()["a@1"] == 0.5


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(5)
    samples = rng.beta(0.5, 2, size=(300, 600))  # 600 studies of 300 users, skewed like recall
    low, high = mean_intervals(samples, n=500, seed=1)
    held = ((low <= 0.2) & (high >= 0.2)).mean()
    assert 0.92 <= held <= 0.975


def test_large_samples_use_the_normal_limit_which_agrees():
    sample = np.random.default_rng(2).random((50_001, 2))
    sample[:100, 1] = np.nan
    low, high = mean_intervals(sample)
    draws = np.nanquantile(bootstrap_means(sample, n=400), [0.025, 0.975], axis=0)
    assert np.allclose([low, high], draws, atol=4e-4)


# ---- lists made of some of the items -------------------------------------------------------------
def test_figures_of_lists_made_of_some_items_are_over_those():
    """Items 3, 4, 5 alone are listed: the same as in a catalogue that has no others."""
    few = Holdout(data([(0, 3), (1, 4), (2, 5)]), candidates=np.array([3, 4, 5], np.int32))
    top = lists([[3, 4], [4, 3], [3, 4]])
    assert overall("coverage", top, few, k=2) == pytest.approx(2 / 3)
    assert overall("gini", top, few, k=2) == pytest.approx(gini(np.array([3, 3, 0])))
    assert overall("entropy", top, few, k=2) == pytest.approx(1.0)
    assert values("auc", top, few, k=2) == [1, 1, 0]  # two wrong ones each; of the last user's both stand above the right one


def test_what_is_popular_among_some_items_is_told_by_those_alone():
    """Of items 1, 3, 4 user 0 had the popular 1, so that 3 comes first; user 2 had not. Among all items 3 is the second of both."""
    truth, top = data([(0, 3), (2, 3)]), lists([[3], [3]], users=[0, 2])
    assert values("serendipity", top, Holdout(truth), k=1) == [1, 1]
    assert values("serendipity", top, Holdout(truth, candidates=np.array([1, 3, 4], np.int32)), k=1) == [0, 1]
