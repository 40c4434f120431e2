"""Verdicts: tests and corrections against scipy and statsmodels, sentences, groups, repeats, and simulations of how often they err."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from recsys_core import evaluation
from recsys_core.data.dataset import from_frame
from recsys_core.errors import Unsupported
from recsys_core.evaluation import groups
from recsys_core.evaluation.repeats import experiment_id, holdout_ratio, said
from recsys_core.metrics._bootstrap import bootstrap_means, mean_intervals

NDCG = "ndcg@10"


def frame(values, metric: str = NDCG) -> pd.DataFrame:
    return pd.DataFrame({metric: np.asarray(values, dtype=float)}, index=pd.RangeIndex(len(values), name="user"))


def zero_inflated(rng, shape, shift=0.0):
    """Like users' differences in NDCG: most are 0, the rest lie on both sides."""
    return np.where(rng.random(shape) < 0.6, 0.0, rng.choice([-1, 1], shape) * rng.beta(1, 2, shape)) + shift


# ---- against scipy and statsmodels -------------------------------------------------------------------
@pytest.mark.parametrize("n", [14, 40, 60, 500])
@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_both_p_values_are_scipys(n, zeros):
    rng = np.random.default_rng(n)
    a = rng.random(n)
    b = np.where(rng.random(n) < zeros, a, a + rng.normal(0.05, 0.2, n))
    found = evaluation.compare(frame(a), frame(b), NDCG)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(b - a, zero_method="pratt").pvalue, rel=1e-9)
    assert found.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue, rel=1e-9)
    assert found.p_holm == found.p_value and found.n_compared == 1, "one comparison needs no correction"


def test_wilcoxon_where_scipy_has_no_answer():
    same = frame([0.5] * 100)
    assert evaluation.compare(same, same, NDCG).p_wilcoxon == 1
    one = evaluation.compare(frame([0.1]), frame([0.2]), NDCG)
    assert math.isnan(one.p_wilcoxon) and math.isnan(one.p_holm) and not one.clear
    few = evaluation.compare(frame([0.1] * 8), frame([0.1, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5]), NDCG)
    expected = stats.wilcoxon([0, 0, 0, 0.1, 0.1, 0.2, 0.3, 0.4], zero_method="pratt", method="asymptotic").pvalue
    assert few.p_wilcoxon == pytest.approx(expected)


def test_holm_is_statsmodels_and_by_hand():
    assert evaluation.holm_p_values([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    rng = np.random.default_rng(0)
    p = rng.random(20) ** 3
    assert evaluation.holm_p_values(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_gap = evaluation.holm_p_values([0.01, np.nan, 0.04])
    assert with_gap[[0, 2]].tolist() == pytest.approx([0.02, 0.04]) and math.isnan(with_gap[1]), "what could not be tested does not count"


def test_several_runs_are_corrected_together_and_it_decides():
    rng = np.random.default_rng(5)
    base = rng.random(100)
    runs = {"base": frame(base)} | {f"r{i}": frame(base + rng.normal(0.02, 0.1, 100)) for i in range(8)}
    found = evaluation.differences(runs, "base", [NDCG])
    assert [d.p_holm for d in found] == pytest.approx(multipletests([d.p_value for d in found], method="holm")[1])
    assert {d.n_compared for d in found} == {8}
    lost = [d for d in found if d.outside_zero and not d.clear]
    assert lost, "this draw has a difference that only the correction makes unclear"
    assert lost[0].p_value < 0.05 <= lost[0].p_holm and lost[0].better is None
    assert "not clear once corrected for 8 comparisons" in lost[0].sentence()
    alone = evaluation.compare(runs["base"], runs[lost[0].name_b], NDCG)
    assert alone.clear and (alone.low, alone.high) == pytest.approx((lost[0].low, lost[0].high))


def test_a_handful_of_users_is_not_clear_by_the_interval_alone():
    found = evaluation.compare(frame([0.0, 0, 0]), frame([0.2, 0.3, 0.1]), NDCG)
    assert found.outside_zero and not found.clear
    assert "not clear by the paired t-test, p = 0.074" in found.sentence()


def test_every_pair_is_compared_once():
    rng = np.random.default_rng(6)
    runs = {name: frame(rng.random(50)) for name in "abcd"}
    found = evaluation.pairwise(runs, NDCG)
    assert [(d.name_a, d.name_b) for d in found] == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    assert found[3].difference == pytest.approx((runs["c"] - runs["b"])[NDCG].mean()) and found[3].n_compared == 6
    assert [d.p_holm for d in found] == pytest.approx(multipletests([d.p_value for d in found], method="holm")[1])


def test_effect_sizes_in_words():
    def of(size):
        gap = np.random.default_rng(0).normal(size=400)
        gap = (gap - gap.mean()) / gap.std(ddof=1) + size
        return evaluation.compare(frame(np.zeros(400)), frame(gap), NDCG)

    assert [of(s).effect for s in (0.1, -0.3, 0.6, -0.9)] == ["very small", "small", "medium", "large"]
    assert of(0.6).effect_size == pytest.approx(0.6)
    same = evaluation.compare(frame([0.25, 0.5, 0.75]), frame([0.5, 0.75, 1.0]), NDCG)  # all users differ by as much
    assert same.effect_size == math.inf and same.effect == "large" and same.as_dict()["effect_size"] is None


def test_one_user_is_no_evidence_and_said_to_be_one():
    found = evaluation.compare(frame([0.1]), frame([0.3]), NDCG)
    assert not found.clear and found.effect == "not known" and math.isnan(found.p_holm)
    assert "(1 user, 95 % interval; one user says nothing of the others)" in found.sentence()


# ---- how often they err ------------------------------------------------------------------------------
SHAPES = {
    "normal": lambda rng, shape: rng.normal(0.02, 0.2, shape),
    "uniform": lambda rng, shape: rng.random(shape) - 0.48,
    "skewed": lambda rng, shape: rng.exponential(0.1, shape) - 0.08,
    "zero-inflated": lambda rng, shape: zero_inflated(rng, shape, 0.0),
    "rare wins": lambda rng, shape: np.where(rng.random(shape) < 0.85, 0.0, rng.beta(2, 3, shape)),
}
TRUTH = {"normal": 0.02, "uniform": 0.02, "skewed": 0.02, "zero-inflated": 0.0, "rare wins": 0.15 * 0.4}


@pytest.mark.parametrize("shape", SHAPES)
def test_95_percent_intervals_hold_the_truth_93_to_97_times_of_100(shape):
    """1,500 experiments of 200 users each; every one with resamples of its own, as in use."""
    rng = np.random.default_rng(11)
    gaps = SHAPES[shape](rng, (200, 1500))
    low, high = np.hstack([mean_intervals(gaps[:, at : at + 30], n=1000, seed=at) for at in range(0, 1500, 30)])
    held = ((low <= TRUTH[shape]) & (TRUTH[shape] <= high)).mean()
    assert 0.93 <= held <= 0.97


def test_a_false_verdict_among_ten_runs_is_as_rare_as_said():
    """1,500 comparisons of ten runs that do not differ from the baseline: with the correction 5 in 100 name a winner, without 30."""
    rng = np.random.default_rng(12)
    n_users, n_runs, n_times = 200, 10, 1500
    gaps = zero_inflated(rng, (n_times, n_runs, n_users))
    t = gaps.mean(axis=2) / (gaps.std(axis=2, ddof=1) / math.sqrt(n_users))
    p = 2 * stats.t.sf(np.abs(t), n_users - 1)
    holm = np.array([evaluation.holm_p_values(one) for one in p])
    wrong, plain = (holm.min(axis=1) < 0.05).mean(), (p.min(axis=1) < 0.05).mean()
    assert 0.03 <= wrong <= 0.06, wrong
    assert plain > 0.3, "the correction does something"


def test_clear_in_the_code_itself_is_rare_where_nothing_differs():
    rng = np.random.default_rng(13)
    wrong = 0
    for _ in range(60):
        base = rng.random(120)
        runs = {"base": frame(base)} | {str(i): frame(base + zero_inflated(rng, 120)) for i in range(8)}
        wrong += any(d.clear for d in evaluation.differences(runs, "base", [NDCG], n=300))
    assert wrong <= 8, wrong  # 60 · 0.05 = 3; more than 8 has a chance of 1 in 200


# ---- groups and the sentence -------------------------------------------------------------------------
def test_the_sentence_names_groups_that_are_clear_and_no_others():
    rng = np.random.default_rng(1)
    history = np.repeat([0, 5, 20, 80], 100)
    a = rng.random(400)
    gain = np.repeat([-0.1, 0.0, 0.1, 0.1], 100) + rng.normal(0, 0.1, 400)
    grouping = evaluation.by_activity(history, np.arange(400))
    assert grouping.names == ("new (no history)", "light (5 items)", "medium (20 items)", "heavy (80 items)")
    found = evaluation.verdict(frame(a), frame(a + gain), NDCG, grouping, names=("EASE", "Fusion"))
    text = found.sentence()
    assert text.startswith("Fusion is better than EASE in NDCG@10 by ") and ", 95 %; it wins for medium users and heavy users" in text
    assert text.endswith("and loses for new users.") and "light" not in text
    light = next(g for g in found.groups if g.said == "light users")
    assert light.difference.n_compared == 4 and light.n_users == 100
    by_hand = evaluation.compare(frame(a).iloc[100:200], frame(a + gain).iloc[100:200], NDCG)
    assert light.difference.difference == pytest.approx(by_hand.difference) and light.difference.p_value == pytest.approx(by_hand.p_value)
    json.dumps(found.as_dict(), allow_nan=False)


def test_groups_too_small_are_named_as_such_and_not_judged():
    history = np.r_[np.zeros(5, int), np.arange(1, 96)]
    rng = np.random.default_rng(2)
    found = evaluation.verdict(frame(rng.random(100)), frame(rng.random(100) + 1), NDCG, evaluation.by_activity(history, np.arange(100)))
    assert found.groups[0].difference is None and found.groups[0].n_users == 5
    assert "it wins in every group" in found.sentence() and found.sentence().endswith("Too few to tell: new users (5).")
    nothing = evaluation.verdict(frame(np.zeros(9)), frame(np.ones(9)), NDCG, evaluation.by_activity(np.arange(9), np.arange(9)))
    assert nothing.sentence().endswith("95 %.") and len(nothing.too_few) == len(nothing.groups)


def test_where_nothing_is_clear_it_says_so_and_items_are_refused():
    rng = np.random.default_rng(3)
    a = rng.random(200)
    b = a + rng.normal(0, 0.2, 200)
    grouping = evaluation.by_activity(np.arange(1, 201), np.arange(200))
    assert evaluation.verdict(frame(a), frame(b), NDCG, grouping).sentence().endswith("95 %; nor in any group.")
    with pytest.raises(Unsupported, match="groups of items"):
        evaluation.verdict(frame(a), frame(b), NDCG, evaluation.by_item_popularity(np.arange(5)))


def test_new_users_and_items_are_those_training_met_late_or_never():
    """Twenty interactions in order of time: the last tenth is the 19th and the 20th."""
    user = [0, 1, 2, 3] * 4 + [0, 1, 4, 5]
    item = [0, 1, 0, 1] * 4 + [0, 2, 0, 3]
    train = from_frame(pd.DataFrame({"user": user, "item": item, "time": np.arange(20)}), time="time")
    users = groups.user_newness(train, np.arange(6))
    assert users.names == ("newly arrived (first seen late in training)", "long known") and users.sizes.tolist() == [2, 4]
    assert users.said(0) == "newly arrived users"
    cold = groups.user_newness(train.subset(train.user != 1), np.array([1, 2, 4]))
    assert cold.names[0] == "new (not in training)" and cold.member[1].indices.tolist() == [0] and cold.sizes.sum() == 3
    items = groups.item_newness(train.subset(train.item != 1))  # twelve are left: the last tenth is the one of item 3
    assert [items.said(i) for i in items.member.indices] == ["long known items", "new items", "long known items", "newly arrived items"]
    undated = groups.item_newness(from_frame(pd.DataFrame({"user": user, "item": item})))
    assert undated.names == ("known (in training)",) and "no times" in undated.note


def test_a_column_of_categories_merges_what_is_rare():
    table = pd.DataFrame({"plan": ["free"] * 60 + ["plus"] * 40 + ["trial"] * 10 + ["staff"] * 5 + [None] * 5})
    found = evaluation.by_column(table, "plan", "user", 122)
    assert dict(zip(found.names, found.sizes.tolist(), strict=True)) == {"free": 60, "plus": 40, "all others": 15, "no value": 7}
    assert found.said(0) == "plan free" and "the others together" in found.note
    asked = evaluation.by_column(table, "plan", "user", 122, among=np.arange(80))
    assert dict(zip(asked.names, asked.sizes.tolist(), strict=True)) == {"free": 60, "plus": 20}, "one alone has nothing to merge with"


def test_an_item_of_two_categories_is_in_both():
    table = pd.DataFrame({"genres": ["Drama|Crime", "Drama", "Crime|Drama", "Comedy", "Comedy|Crime", ""] * 10})
    found = evaluation.by_column(table, "genres", "item", 60)
    sizes = dict(zip(found.names, found.sizes.tolist(), strict=True))
    assert sizes == {"Crime": 30, "Drama": 30, "Comedy": 20, "no value": 10} and found.overlapping
    shares = found.shares[0].toarray().ravel()
    assert shares[[found.names.index("Drama"), found.names.index("Crime")]].tolist() == [0.5, 0.5]
    assert np.allclose(found.shares.sum(axis=1), 1)


def test_numbers_and_dates_come_in_quarters():
    rng = np.random.default_rng(0)
    when = pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, 400), unit="D")
    table = pd.DataFrame(
        {"price": rng.random(400) * 50, "released": when.strftime("%Y-%m-%d"), "age": ["18-24", "65+", "25-34", "9-12"] * 100}
    )
    price = evaluation.by_column(table, "price", "item", 400)
    assert price.sizes.tolist() == [100] * 4 and all("–" in name for name in price.names)
    dates = evaluation.by_column(table, "released", "item", 400)
    assert len(dates) == 4 and dates.names[0].startswith("2020-0") and abs(dates.sizes - 100).max() < 15
    assert evaluation.by_column(table, "age", "user", 400).names == ("9-12", "18-24", "25-34", "65+"), "in their own order"


def test_titles_cannot_part_items():
    table = pd.DataFrame({"title": [f"Film {i} of the series {i * 7}" for i in range(50)], "one": ["x"] * 50, "year": [1990, 1991] * 25})
    assert evaluation.usable_columns(table) == {"year": "categorical"} and evaluation.usable_columns(None) == {}
    with pytest.raises(Unsupported, match="'title' cannot part items"):
        evaluation.by_column(table, "title", "item", 50)


# ---- repeats -----------------------------------------------------------------------------------------
def fake(run_id: str, seed: int, value: float, *, model="als", split="random", params=None, folds=(), **more):
    return SimpleNamespace(
        id=run_id,
        name=model.upper(),
        split_id=f"{split}{seed}",
        spec={"dataset": "d", "model": model, "split": split, "split_params": {}, "params": params or {}, "seed": seed, "ks": [10]} | more,
        metrics={NDCG: {"mean": value}},
        overall={"coverage@10": value * 2},
        folds=list(folds),
        card=lambda: {"interactions": {"test": 20, "training": 80}},
    )


def test_runs_that_differ_in_the_seed_alone_are_one_experiment():
    runs = [
        fake("a", 1, 0.45),
        fake("b", 3, 0.47),
        fake("c", 2, 0.46),
        fake("d", 1, 0.3, model="popular"),
        fake("e", 4, 0.4, params={"factors": 8}),
    ]
    found = evaluation.repeats(runs)
    assert [one.ids for one in found] == [["a", "c", "b"], ["d"], ["e"]] and [one.kind for one in found] == ["seeds", "once", "once"]
    assert found[0].label == "ALS, 3 seeds" and found[0].seeds == [1, 2, 3] and found[0].new_split
    spread = found[0].spread(NDCG)
    assert (spread.n, spread.mean, spread.deviation) == pytest.approx((3, 0.46, 0.01)) and spread.text() == "0.4600 ± 0.0100"
    assert found[0].spread("coverage@10").highest == pytest.approx(0.94)
    assert said(found, NDCG) == ["ALS, 3 seeds: 0.4600 ± 0.0100"]
    assert found[1].spread(NDCG).text() == "0.3000" and found[1].spread("map@10").n == 0


def test_defaults_spelled_out_are_the_same_experiment():
    plain = fake("a", 1, 0.4).spec
    assert experiment_id(plain) == experiment_id(plain | {"seed": 9, "name": "mine", "threads": 3, "split_params": {"test_share": 0.2}})
    assert experiment_id(plain) != experiment_id(plain | {"split_params": {"test_share": 0.3}})
    assert experiment_id(plain) != experiment_id(plain | {"params": {"factors": 7}})
    assert experiment_id(plain | {"model": "gone"}) == experiment_id(plain | {"model": "gone", "seed": 5}), "an unknown model is no error"


def test_folds_are_repeats_too():
    one = evaluation.repeats([fake("k", 1, 0.5, split="kfold", folds=[{NDCG: 0.4}, {NDCG: 0.5}, {NDCG: 0.6}])])[0]
    assert one.label == "ALS, 3 folds" and one.spread(NDCG).deviation == pytest.approx(0.1)


def test_two_models_over_the_same_seeds_are_paired_with_the_corrected_test():
    a = evaluation.repeats([fake(f"a{s}", s, v) for s, v in enumerate((0.40, 0.44, 0.42, 0.41))])[0]
    b = evaluation.repeats([fake(f"b{s}", s, v, model="ease") for s, v in ((0, 0.43), (1, 0.46), (2, 0.45), (7, 0.1))])[0]
    found = evaluation.compare_repeats(a, b, NDCG)
    gaps = np.array([0.03, 0.02, 0.03])
    assert found.differences == pytest.approx(gaps) and (found.wins, found.deviation) == (3, pytest.approx(gaps.std(ddof=1)))
    error = gaps.std(ddof=1) * math.sqrt(1 / 3 + 20 / 80)
    low, high = stats.t.interval(0.95, 2, gaps.mean(), error)
    assert (found.low, found.high) == pytest.approx((low, high)) and found.p_value == pytest.approx(2 * stats.t.sf(gaps.mean() / error, 2))
    assert found.sentence().startswith("EASE is ahead of ALS in 3 of 3 seeds: +0.0267 ± 0.0058 NDCG@10 (95 % interval +")
    assert evaluation.compare_repeats(a, evaluation.repeats([fake("z", 99, 0.5)])[0], NDCG) is None
    assert holdout_ratio(SimpleNamespace(card=dict)) == 0.25


def test_where_the_split_is_fixed_it_is_the_plain_paired_t_test():
    a = evaluation.repeats([fake(f"a{s}", s, v, split="global_time") for s, v in enumerate((0.40, 0.44, 0.42))])[0]
    b = evaluation.repeats([fake(f"b{s}", s, v, split="global_time", model="bpr") for s, v in enumerate((0.43, 0.46, 0.47))])[0]
    assert not a.new_split
    assert evaluation.compare_repeats(a, b, NDCG).p_value == pytest.approx(stats.ttest_rel([0.43, 0.46, 0.47], [0.40, 0.44, 0.42]).pvalue)


def test_several_pairs_of_repeats_are_corrected_together():
    base = evaluation.repeats([fake(f"b{s}", s, v, split="global_time") for s, v in enumerate((0.40, 0.44, 0.42, 0.41))])[0]
    gaps = [(0.010, 0.014, 0.022, 0.012), (0.010, 0.05, -0.02, 0.01), (0.02, 0.03, -0.01, 0.02)]
    others = [
        evaluation.repeats([
            fake(f"{n}{s}", s, base.figures(NDCG)[s] + gap, split="global_time", model="bpr") for s, gap in enumerate(own)
        ])[0]
        for n, own in enumerate(gaps)
    ]  # fmt: skip
    alone = [evaluation.compare_repeats(base, other, NDCG) for other in others]
    together = evaluation.corrected_repeats(alone)
    assert [d.p_holm for d in together] == pytest.approx(multipletests([d.p_value for d in alone], method="holm")[1])
    assert alone[0].clear and not alone[1].clear
    wide = evaluation.corrected_repeats([alone[0]] * 12)[0]
    assert not wide.clear and "not clear with 4 seeds, once corrected for 12 comparisons" in wide.sentence()


def test_the_corrected_test_errs_less_than_the_plain_one_on_overlapping_training_sets():
    """Twelve random splits of one sample, 400 times: the mean of the test part estimates the same truth each time, but the plain
    t-test, which takes the splits for independent, calls more than a quarter of these nothings clear."""
    rng = np.random.default_rng(8)
    plain = corrected = 0
    for _ in range(400):
        users = rng.normal(0, 1, 100)
        test = np.array([users[rng.permutation(100)[:20]].mean() for _ in range(12)])
        a = evaluation.repeats([fake(f"a{s}", s, 0.0) for s in range(12)])[0]
        b = evaluation.repeats([fake(f"b{s}", s, v, model="ease") for s, v in enumerate(test)])[0]
        corrected += evaluation.compare_repeats(a, b, NDCG).clear
        plain += stats.ttest_1samp(test, 0).pvalue < 0.05
    assert plain > 100 and corrected < plain / 2


def test_shared_resamples_give_the_interval_of_the_difference():
    rng = np.random.default_rng(9)
    values = rng.random((80, 2))
    means = bootstrap_means(values, 500, 3)
    gap = bootstrap_means(values[:, 1:] - values[:, :1], 500, 3)
    assert np.allclose(means[:, 1] - means[:, 0], gap[:, 0])
