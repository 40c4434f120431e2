"""A/B tests: plans, splits, readouts, interleaving, estimates from logs; against statsmodels, hand-worked cases and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from recsys_core.data.topk import TopK
from recsys_core.errors import BadInput, DataError
from recsys_core.evaluation.ab import (
    experiment,
    former_differs,
    guess_roles,
    interleave,
    looks,
    off_policy,
    plan_mean,
    plan_rate,
    readout,
    sample_ratio,
)
from recsys_core.evaluation.ab.experiment import FORMER, Experiment
from recsys_core.evaluation.ab.interleave import team_draft


# ---- planning --------------------------------------------------------------------------------------
def test_plan_of_a_rate_by_the_textbook():
    """10 % to 12 %, power 80 %, 5 %: 2 (z.975 + z.8)² / h² = 3,834.6 a group."""
    h = 2 * np.arcsin(np.sqrt(0.12)) - 2 * np.arcsin(np.sqrt(0.10))
    by_hand = 2 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 / h**2
    plan = plan_rate(0.10, 0.02, daily_users=1000)
    assert abs(plan.users_per_group - by_hand) <= 1.5
    assert plan.users == 2 * plan.users_per_group and plan.days == int(np.ceil(plan.users / 1000))
    assert "percentage points" in plan.sentence() and f"{plan.users_per_group:,}" in plan.sentence()


def test_a_planned_test_has_the_power_it_promises():
    plan = plan_rate(0.2, 0.04, power=0.8)
    rng = np.random.default_rng(0)
    n = plan.users_per_group
    a, b = rng.binomial(n, 0.2, 4000) / n, rng.binomial(n, 0.24, 4000) / n
    pooled = (a + b) / 2
    z = (b - a) / np.sqrt(2 * pooled * (1 - pooled) / n)
    assert 0.77 < (np.abs(z) > stats.norm.ppf(0.975)).mean() < 0.83


def test_more_groups_smaller_lifts_and_less_traffic_cost_more():
    base = plan_rate(0.1, 0.02)
    assert plan_rate(0.1, 0.02, n_groups=3).users_per_group > base.users_per_group
    assert plan_rate(0.1, 0.01).users_per_group > 3.5 * base.users_per_group
    assert plan_rate(0.1, 0.02, daily_users=500, share=0.5).days == plan_rate(0.1, 0.02, daily_users=250).days
    lifts, users = base.curve()
    assert (np.diff(users) <= 0).all() and (np.diff(lifts) > 0).all()


@pytest.mark.parametrize(("baseline", "lift"), [(1e-5, 1e-6), (1e-5, -5e-6), (0.99, 0.009), (0.99, -0.001), (0.05, -0.005), (0.999, 9e-4)])
def test_plans_of_extreme_rates_and_of_falls(baseline, lift):
    h = 2 * np.arcsin(np.sqrt(baseline + lift)) - 2 * np.arcsin(np.sqrt(baseline))
    by_hand = 2 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 / h**2
    plan = plan_rate(baseline, lift)
    assert abs(plan.users_per_group / by_hand - 1) < 1e-3 + 1 / by_hand
    lifts, users = plan.curve()
    assert (np.sign(lifts) == np.sign(lift)).all() and (np.diff(users) <= 0).all()


def test_plan_of_a_mean_and_wrong_plans():
    plan = plan_mean(20.0, 10.0, 1.0)
    by_hand = 2 * ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * 10 / 1) ** 2
    assert abs(plan.users_per_group - by_hand) <= 3
    assert plan_mean(20.0, 1e-3, 5.0).users_per_group == 2
    for wrong in (lambda: plan_rate(5, 1), lambda: plan_rate(0.5, 0.6), lambda: plan_rate(0.1, 0), lambda: plan_mean(1, 0, 1)):
        with pytest.raises(BadInput):
            wrong()


# ---- reading a file --------------------------------------------------------------------------------
@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    n = 4000
    before = rng.gamma(2.0, 10.0, n)
    variant = np.where(rng.random(n) < 0.5, "treatment", "control")
    spent = before + rng.normal(0, 5, n) + (variant == "treatment") * 0.5
    clicked = (rng.random(n) < np.where(variant == "treatment", 0.25, 0.20)).astype(int)
    day = pd.Timestamp("2026-03-01") + pd.to_timedelta(rng.integers(0, 14, n), unit="D")
    return pd.DataFrame(
        {"user_id": [f"u{i}" for i in range(n)], "group": variant, "date": day, "clicked": clicked, "spent": spent, "pre_spent": before}
    )


def test_roles_are_guessed(frame):
    roles = guess_roles(frame)
    assert (roles["user"], roles["variant"], roles["time"], roles["before"]) == ("user_id", "group", "date", "pre_spent")
    assert roles["outcomes"] == ["clicked", "spent"]


def test_readout_agrees_with_scipy_and_statsmodels(frame):
    found = experiment(frame, user="user_id", variant="group", outcomes=["clicked", "spent"])
    rate, mean = readout(found)
    a, b = frame[frame.group == "control"], frame[frame.group == "treatment"]
    assert rate.is_rate and np.isclose(rate.difference, b.clicked.mean() - a.clicked.mean())
    pooled = frame.clicked.mean()
    z = rate.difference / np.sqrt(pooled * (1 - pooled) * (1 / len(a) + 1 / len(b)))
    assert np.isclose(rate.p_value, 2 * stats.norm.sf(abs(z)), rtol=0.02)
    assert np.isclose(mean.p_value, stats.ttest_ind(b.spent, a.spent, equal_var=False).pvalue)
    p = sorted([rate.p_value, mean.p_value])
    assert np.isclose(min(rate.p_adjusted, mean.p_adjusted), 2 * p[0]) and np.isclose(
        max(rate.p_adjusted, mean.p_adjusted), max(2 * p[0], p[1])
    )
    assert rate.clear and "raises 'clicked'" in rate.sentence()


def test_cuped_narrows_the_interval_and_keeps_the_effect(frame):
    found = experiment(frame, user="user_id", variant="group", outcomes=["spent"], before="pre_spent")
    with_it, without = readout(found)[0], readout(found, cuped=False)[0]
    assert with_it.variance_cut > 0.8 and without.variance_cut is None
    assert (with_it.high - with_it.low) < 0.5 * (without.high - without.low)
    assert abs(with_it.difference - 0.5) < 0.4 and with_it.clear and not without.clear


def test_a_past_in_which_the_groups_differed_is_warned_of(frame):
    roles = {"user": "user_id", "variant": "group", "outcomes": ["spent"], "before": "pre_spent"}
    assert former_differs(experiment(frame, **roles)) == ""
    late = frame.assign(pre_spent=frame["pre_spent"] + 5.0 * (frame["group"] == "treatment"))  # measured after the start
    assert "differ in the value from before the test already" in former_differs(experiment(late, **roles))
    assert former_differs(experiment(frame, **roles | {"before": None})) == ""


def test_cuped_intervals_cover():
    """600 outcomes with nothing to find in them, each foretold by the pre-period to another degree."""
    rng = np.random.default_rng(5)
    before = rng.gamma(1.0, 3.0, 300)
    outcomes = {f"x{i}": rng.uniform(0, 2) * before + rng.normal(0, 2, 300) for i in range(600)}
    users = pd.DataFrame({"variant": ["a", "b"] * 150, FORMER: before} | outcomes)
    effects = readout(Experiment(users, tuple(outcomes), "a", has_former=True))
    assert 0.93 < np.mean([e.low <= 0 <= e.high for e in effects]) < 0.97
    assert not any(e.clear for e in effects), "Holm over all of them"


def test_rows_are_added_up_and_nothing_is_lost_in_silence():
    frame = pd.DataFrame(
        {
            "user": ["a", "a", "b", "c", "c", None, "d", "e"],
            "variant": ["A", "A", "B", "A", "B", "A", "B", "A"],
            "clicks": [1, 2, 0, 5, 5, 1, "oops", 3],
        }
    )
    found = experiment(frame, user="user", variant="variant", outcomes=["clicks"])
    assert found.users["clicks"].to_dict() == {"a": 3, "b": 0, "d": 0, "e": 3} and found.control == "A"
    said = " ".join(found.notes)
    assert "1 user was in more than one group" in said and "1 row has no user" in said and "'oops'" in said and "added up" in said
    for wrong in ({"outcomes": []}, {"outcomes": ["nope"]}, {"outcomes": ["clicks"], "control": "Z"}):
        with pytest.raises(DataError):
            experiment(frame, user="user", variant="variant", **wrong)
    with pytest.raises(DataError, match="must hold numbers"):
        experiment(frame.assign(t="x"), user="user", variant="variant", outcomes=["t"])


def test_nobody_clicked_is_no_result():
    frame = pd.DataFrame({"u": range(40), "v": ["a", "b"] * 20, "y": 0})
    effect = readout(experiment(frame, user="u", variant="v", outcomes=["y"]))[0]
    assert effect.p_value == 1 and not effect.clear and effect.low < 0 < effect.high


# ---- traffic ---------------------------------------------------------------------------------------
def test_sample_ratio():
    def ratio(n_a, n_b, planned=None):
        frame = pd.DataFrame({"u": range(n_a + n_b), "v": ["a"] * n_a + ["b"] * n_b, "y": 1})
        return sample_ratio(experiment(frame, user="u", variant="v", outcomes=["y"]), planned)

    fine, broken = ratio(1010, 990), ratio(1150, 850)
    assert not fine.broken and broken.broken and "'a' has 1,150" in broken.sentence()
    assert np.isclose(broken.p_value, stats.chisquare([1150, 850]).pvalue)
    assert not ratio(1800, 200, {"a": 0.9, "b": 0.1}).broken
    with pytest.raises(BadInput):
        ratio(10, 10, {"a": 1.0})


def test_running_result_ends_at_the_final_one_and_warns_of_peeking(frame):
    found = experiment(frame, user="user_id", variant="group", outcomes=["spent"], time="date")
    running = looks(found, "spent", "treatment", planned=10_000)
    final = readout(found)[0]
    assert len(running.days) == 14 and running.users[-1] == 4000
    assert np.isclose(running.difference[-1], final.difference) and np.isclose(running.p_value[-1], final.p_value, rtol=0.02)
    assert "planned for 10,000" in running.warning() and looks(found, "spent", "treatment", planned=4000).warning() in (
        "",
        running.warning(),
    )
    with pytest.raises(BadInput, match="no date"):
        looks(experiment(frame, user="user_id", variant="group", outcomes=["spent"]), "spent", "treatment")


def test_stopping_at_the_first_clear_day_is_wrong_too_often():
    """The reason for the warning, shown: of tests of nothing, looked at daily, far more than 5 % look clear once."""
    rng = np.random.default_rng(2)
    fooled = 0
    days = pd.Series(pd.date_range("2026-01-01", periods=14)).repeat(100).to_numpy()
    for _ in range(200):
        users = pd.DataFrame({"variant": rng.permutation(["a", "b"] * 700), "y": rng.normal(size=1400), "day": days})
        fooled += looks(Experiment(users, ("y",), "a"), "y", "b").n_clear > 0
    assert fooled / 200 > 0.12


# ---- interleaving ----------------------------------------------------------------------------------
def top(items):
    items = np.asarray(items, dtype=np.int32)
    return TopK(np.arange(len(items), dtype=np.int32), items, np.where(items >= 0, 1.0, np.nan).astype(np.float32))


def slow_draft(a, b, clicks, coins):
    """One user, as the paper writes it."""
    a, b, shown, got, coins = list(a), list(b), [], [0, 0], iter(coins)
    while len(shown) < len(a):
        order = (1, 0) if next(coins) else (0, 1)
        for side in order:
            rest = [i for i in (a, b)[side] if i >= 0 and i not in shown]
            if not rest:
                rest, side = [i for i in (b, a)[side] if i >= 0 and i not in shown], 1 - side
            if rest and len(shown) < len(a):
                shown.append(rest[0])
                got[side] += rest[0] in clicks
        if not any(i >= 0 and i not in shown for i in a + b):
            break
    return got


def test_team_draft_equals_the_slow_one():
    rng = np.random.default_rng(3)
    a = np.stack([rng.permutation(12)[:6] for _ in range(50)])
    b = np.stack([rng.permutation(12)[:6] for _ in range(50)])
    relevant = rng.random((50, 12)) < 0.3
    coins = np.random.default_rng(7)
    tossed = np.stack([coins.random(50) < 0.5 for _ in range(3)])
    got = team_draft(a, b, np.take_along_axis(relevant, a, 1), np.take_along_axis(relevant, b, 1), np.random.default_rng(7))
    for row in range(50):
        assert [got[0][row], got[1][row]] == slow_draft(a[row], b[row], set(np.flatnonzero(relevant[row])), tossed[:, row])


def test_interleaving_prefers_the_better_list_and_is_fair_to_equals():
    rng = np.random.default_rng(4)
    n, k = 400, 10
    relevant = sparse.csr_matrix(rng.random((n, 100)) < 0.05)
    random_a = top([rng.permutation(100)[:k] for _ in range(n)])
    random_b = top([rng.permutation(100)[:k] for _ in range(n)])
    dense = relevant.toarray()
    good = top([np.argsort(-(dense[u] + rng.random(100) * 1.2))[:k] for u in range(n)])
    better = interleave(random_a, good, relevant, names=("Random", "Good"))
    assert better.clear and better.preference > 0.3 and "Good is preferred" in better.sentence()
    flipped = interleave(good, random_a, relevant)
    assert flipped.clear and flipped.preference < -0.3
    assert interleave(good, good, relevant).preference == pytest.approx(0, abs=0.06)
    fair = interleave(random_a, random_b, relevant)
    assert fair.low < 0 < fair.high and fair.wins_a + fair.wins_b + fair.ties == n
    with pytest.raises(BadInput):
        interleave(random_a, good, relevant, k=11)
    with pytest.raises(BadInput):
        interleave(random_a, good.take(np.arange(10)), relevant)


def test_interleaving_of_short_lists():
    a, b = top([[0, -1, -1]]), top([[1, 2, -1]])
    found = interleave(a, b, sparse.csr_matrix(np.array([[False, True, True]])), k=3)
    assert found.wins_b == 1 and found.without_clicks == 0


# ---- estimates from logs ---------------------------------------------------------------------------
def test_off_policy_by_hand():
    """Two items, log shows 0 with .8: a run that always shows 1 is judged by the rows that showed 1."""
    shown, reward = np.array([0, 0, 0, 0, 1]), np.array([0.0, 1, 0, 0, 1])
    found = off_policy(shown, reward, np.where(shown == 0, 0.8, 0.2), np.full((5, 1), 1))
    assert found.n_matched == 1 and np.isclose(found.ips, 1 / 0.2 / 5) and found.snips == 1 and np.isclose(found.mean_weight, 1)
    assert found.logged == 0.4 and found.effective_rows == 1 and found.warnings()
    cut = off_policy(shown, reward, np.where(shown == 0, 0.8, 0.2), np.full((5, 1), 1), max_weight=2)
    assert cut.n_clipped == 1 and np.isclose(cut.ips, 0.4)
    for wrong in (np.zeros(5), np.full(5, 1.5), np.full(5, np.nan)):
        with pytest.raises(BadInput, match="propensity"):
            off_policy(shown, reward, wrong, np.full((5, 1), 1))


def test_off_policy_finds_the_truth_and_covers_it():
    """10 items with known rates; the log favours some; a run shows three of them."""
    rng = np.random.default_rng(6)
    rates, chance = np.linspace(0.05, 0.5, 10), rng.dirichlet(np.full(10, 3.0))
    lists = np.array([2, 5, 9])
    truth = rates[lists].mean()
    inside = np.zeros(2)
    for _ in range(300):
        shown = rng.choice(10, 3000, p=chance)
        found = off_policy(shown, rng.random(3000) < rates[shown], chance[shown], np.tile(lists, (3000, 1)))
        inside += (found.ips_low <= truth <= found.ips_high, found.snips_low <= truth <= found.snips_high)
    assert (inside / 300 > 0.91).all() and (inside / 300 < 0.985).all()


def test_off_policy_intervals_are_over_users_who_come_often():
    """150 users of 20 rows each, some of whom like everything: over rows the interval would hold the truth far too seldom."""
    rng = np.random.default_rng(7)
    users, lists = np.repeat(np.arange(150), 20), np.tile([0, 1], (3000, 1))
    inside = np.zeros(2)
    for _ in range(200):
        likes = rng.beta(0.4, 0.6, 150)[users]
        shown = rng.integers(0, 4, 3000)
        reward = rng.random(3000) < likes
        for side, who in enumerate((users, None)):
            found = off_policy(shown, reward, np.full(3000, 0.25), lists, users=who)
            inside[side] += found.snips_low <= 0.4 <= found.snips_high
    assert 0.91 < inside[0] / 200 < 0.985 and inside[1] / 200 < 0.8
    alone = off_policy(shown, reward, np.full(3000, 0.25), lists, users=np.arange(3000))
    assert alone.snips_low == pytest.approx(found.snips_low) and alone.ips_high == pytest.approx(found.ips_high)


# ---- files as they come ----------------------------------------------------------------------------
def _file(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"user_id": [f"u{i}" for i in range(n)], "group": ["A", "B"] * (n // 2)} | columns).astype("str")


def test_decimal_commas_booleans_and_percent_signs_are_numbers():
    frame = _file(revenue=["1,5", "2,25", "0,5", "1.000,5"], bought=["Yes", "no", "TRUE", "false"], rate=["12 %", "8 %", "0 %", "4 %"])
    found = experiment(frame, user="user_id", variant="group", outcomes=["revenue", "bought", "rate"])
    assert found.users["revenue"].to_list() == [1.5, 2.25, 0.5, 1000.5]
    assert found.users["bought"].to_list() == [1, 0, 1, 0] and found.users["rate"].to_list() == [12, 8, 0, 4] and not found.notes
    assert guess_roles(frame)["outcomes"] == ["revenue", "bought", "rate"]
    english = experiment(_file(revenue=["1,500", "2.5", "1,000.25", "7"]), user="user_id", variant="group", outcomes=["revenue"])
    assert english.users["revenue"].to_list() == [1500, 2.5, 1000.25, 7]


@pytest.mark.parametrize(
    "dates",
    [
        ["1709251200", "1709341200", "1709424000", "1709510399"],
        ["1709251200000", "1709341200000", "1709424000000", "1709510399000"],
        ["1709251200000000", "1709341200000000", "1709424000000000", "1709510399000000"],
        ["01.03.2024", "02.03.2024", "03.03.2024", "03.03.2024"],
        ["2024-03-01T00:00:00Z", "2024-03-02 01:00", "2024-03-03", "2024-03-03T23:59:59+00:00"],
        ["20240301", "20240302", "20240303", "20240303"],
    ],
)
def test_days_of_many_kinds(dates):
    dates = [*dates, "29.03.2024"] if "." in dates[0] else [*dates, dates[-1]]  # a day above 12 says which number is the day
    frame = _file(date=dates[:4] + dates[-1:] * 2, clicks=["1"] * 6)
    found = experiment(frame, user="user_id", variant="group", outcomes=["clicks"], time="date")
    assert found.users["day"].dt.strftime("%Y-%m-%d").to_list()[:4] == ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-03"]
    assert guess_roles(frame)["time"] == "date" and guess_roles(frame)["outcomes"] == ["clicks"]


def test_columns_that_only_sound_like_dates_or_a_past():
    frame = _file(time_spent=["12.5", "3", "4", "8"], premium_clicks=["1", "2", "0", "3"], pre_clicks=["2", "2", "1", "1"])
    guess = guess_roles(frame)
    assert guess["time"] is None and guess["before"] == "pre_clicks" and guess["outcomes"] == ["time_spent", "premium_clicks"]


def test_files_that_say_nothing_are_refused_in_words():
    with pytest.raises(DataError, match="no rows"):
        experiment(_file(x=["1", "2"]).iloc[:0], user="user_id", variant="group", outcomes=["x"])
    with pytest.raises(DataError, match="cannot be called 'day'"):
        experiment(_file(day=["1", "2"]), user="user_id", variant="group", outcomes=["day"])


def test_a_planned_group_that_nobody_is_in_is_a_broken_split():
    frame = pd.DataFrame({"u": range(400), "v": ["a", "b"] * 200, "y": 1})
    check = sample_ratio(experiment(frame, user="u", variant="v", outcomes=["y"]), {"a": 1, "b": 1, "c": 1})
    assert check.broken and "'c' has 0 users where 133" in check.sentence()


def test_running_result_of_large_numbers_that_differ_little():
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2026-03-01") + pd.to_timedelta(np.repeat(np.arange(10), 400), unit="D")
    frame = pd.DataFrame({"u": range(4000), "v": ["a", "b"] * 2000, "y": 1e8 + rng.random(4000), "d": days})
    found = experiment(frame, user="u", variant="v", outcomes=["y"], time="d")
    assert np.isclose(looks(found, "y", "b").p_value[-1], readout(found)[0].p_value, rtol=0.02)


def test_too_early_counts_the_users_of_all_groups():
    frame = pd.DataFrame({"u": range(3000), "v": ["a", "b", "c"] * 1000, "y": np.arange(3000) % 7})
    frame["d"] = pd.Timestamp("2026-03-01") + pd.to_timedelta(frame["u"] // 300, unit="D")
    found = experiment(frame, user="u", variant="v", outcomes=["y"], time="d")
    assert "planned for" not in looks(found, "y", "b", planned=3000).warning()
    assert "planned for 3,001 users and has 3,000" in looks(found, "y", "b", planned=3001).warning()


def test_a_result_that_looked_clear_once_and_is_no_more():
    """Large differences on the first days, the reverse afterwards."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"u": range(2000), "v": ["a", "b"] * 1000})
    frame["d"] = pd.Timestamp("2026-03-01") + pd.to_timedelta(frame["u"] // 200, unit="D")
    early = frame["u"] < 600
    frame["y"] = rng.normal(size=2000) + np.where(frame["v"] == "b", np.where(early, 0.6, -0.25), 0)
    running = looks(experiment(frame, user="u", variant="v", outcomes=["y"], time="d"), "y", "b")
    assert running.p_value[0] < 0.05 < running.p_value[-1] and "did not stay so" in running.warning()


def test_not_clear_for_the_correction_says_so():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"u": range(800), "v": ["a", "b"] * 400} | {f"y{i}": rng.normal(size=800) for i in range(6)})
    frame["y0"] += np.where(frame["v"] == "b", 0.08, 0)
    effects = readout(experiment(frame, user="u", variant="v", outcomes=[f"y{i}" for i in range(6)]))
    assert effects[0].p_value < 0.05 < effects[0].p_adjusted and "corrected for 6 comparisons" in effects[0].sentence()
