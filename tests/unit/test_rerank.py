"""Re-ranking in small, by hand: what items are alike by, what rules do and refuse, how scores are scaled."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK
from recsys_core.errors import BadInput
from recsys_core.metrics import Catalog, evaluate
from recsys_core.rerank._base import Reranker, Shelf, picked, scaled
from recsys_core.rerank._rule_book import seconds
from recsys_core.rerank.mmr import MMR
from recsys_core.rerank.rules import Rules

DAY = 86_400


def data(**more) -> Dataset:
    """8 items of two makers; a to d are had by users 0 to 4, e to g by users 5 to 9, h by nobody. Item d has no genre."""
    pairs = [(user, item) for user in range(5) for item in range(4)] + [(user, item) for user in range(5, 10) for item in range(4, 7)]
    user, item = (np.array(side) for side in zip(*pairs, strict=True))
    table = pd.DataFrame({
        "genres": ["Crime", "Crime", "Crime|War", None, "Dance", "Dance", "Dance", ""],
        "maker": ["X", "X", "Y", "Y", "Y", "X", "Z", None],
        "made": ["2020-01-01", "2020-03-01", "2020-03-20", None, "2020-03-31", "2019-01-01", "2020-02-20", "2020-03-30"],
    })  # fmt: skip
    time = 1_585_612_800 - DAY * (100 - 10 * item)  # the last is 2020-03-31 less 40 days; item h has no interaction
    ids = IdMap(range(10)), IdMap(list("abcdefgh"))
    return Dataset(*ids, user, item, np.ones(len(user)), **({"time": time, "item_table": table} | more))


def ranked(names: str, n: int = 1) -> TopK:
    items = np.array([["abcdefgh".index(name) for name in names]] * n, dtype=np.int32)
    return TopK(np.arange(n, dtype=np.int32), items, np.tile(np.arange(len(names), 0, -1, dtype=np.float32), (n, 1)))


def shaped(names: str, k: int = 4, shelf: Shelf | None = None, **rules) -> str:
    top = Rules(**rules).rerank(ranked(names), k, shelf or Shelf(data()))
    return "".join("abcdefgh"[i] for i in top.items[0] if i >= 0)


# ---- what items are alike by ---------------------------------------------------------------------
def test_an_item_without_categories_borrows_those_of_items_the_same_people_had():
    shelf = Shelf(data())
    groups = pd.DataFrame(shelf.groups.toarray(), columns=shelf.group_names)
    assert groups.loc[2].to_dict() == pytest.approx({"Crime": 0.5, "War": 0.5, "Dance": 0.0})
    assert groups.loc[3, "Dance"] == pytest.approx(0, abs=1e-4) and groups.loc[3, "Crime"] == pytest.approx(5 / 6, abs=1e-3)
    assert groups.loc[7].tolist() == pytest.approx([2.5 / 6, 0.5 / 6, 0.5])  # had by nobody: as the items are on the whole
    traits = shelf.traits.toarray()
    np.testing.assert_allclose(np.linalg.norm(traits, axis=1), 1, rtol=1e-5)
    assert traits[3] @ traits[0] > 0.9 and traits[3] @ traits[4] < 0.01 and 0.3 < traits[7] @ traits[0] < 0.9
    assert shelf.notes == ["1 item has no category and counts as like the items that the same people had."]
    assert shelf.similarity.startswith("item categories")


def test_without_an_item_table_items_are_alike_by_who_had_them():
    shelf = Shelf(data(item_table=None))
    traits = shelf.traits
    assert traits[0] @ traits[1] > 0.99 and abs(traits[0] @ traits[4]) < 0.01
    assert 0.3 < traits[7] @ traits[0] < 0.99, "an item nobody had is not unlike everything"
    assert "who had the items" in shelf.similarity and len(shelf.notes) == 1
    assert shelf.group_names[0] == "group 1" and len(shelf.group_names) == shelf.groups.shape[1]
    assert MMR(strength=0.9).rerank(ranked("abcef"), 2, shelf).items.tolist() == [[0, 4]]


def test_histories_of_strangers_are_empty():
    histories = Shelf(data()).histories(np.array([-1, 5, 99, 0]))
    assert histories.lengths.tolist() == [0, 3, 0, 4] and histories.items[:3].tolist() == [4, 5, 6]


def test_relevance_is_scaled_within_a_list_and_falls_along_it():
    there = np.array([[True] * 4, [True] * 3 + [False], [True] * 4, [True] * 4, [False] * 4])
    nan = np.nan
    scores = np.array([[5, 4, 4, 1], [2, 2, 2, nan], [1, 2, 3, 4], [np.inf, 1, 1, 0], [nan] * 4], dtype=np.float32)
    expected = [[1, 0.75, 0.75, 0], [1, 1, 1, 0], [1, 2 / 3, 1 / 3, 0], [1, 2 / 3, 1 / 3, 0], [0] * 4]
    np.testing.assert_allclose(scaled(scores, there), expected, atol=1e-6)


def test_a_broken_method_is_found_out():
    for columns in ([[0, 0]], [[0, 2]]):
        with pytest.raises(ValueError, match="at most once"):
            picked(TopK(np.zeros(1, np.int32), np.array([[3, 4, -1]]), np.array([[2.0, 1.0, np.nan]])), np.array(columns), 2)


def test_methods_see_tens_of_users_at_a_time_and_their_own_histories():
    seen = []

    class Watching(Reranker):
        key, label, summary = "watching", "Watching", ""

        def _select(self, items, relevance, k, shelf, histories):
            seen.append((len(items), histories.items[histories.indptr[:-1]].tolist()))
            return np.tile(np.arange(k), (len(items), 1))

    n = 13_000 // 8
    past = Histories.from_rows(n, np.arange(n), np.arange(n, dtype=np.int32) % 8, np.ones(n))
    Watching().rerank(ranked("abcdefgh", n), 2, Shelf(data()), past)
    assert [count for count, _ in seen] == [1600, 25] and seen[1][1] == [(1600 + i) % 8 for i in range(25)]


# ---- rules ---------------------------------------------------------------------------------------
def test_pinned_items_come_first_where_the_user_may_have_them_and_blocked_ones_never():
    assert shaped("abcdef", pinned=["e", "h", "c"], blocked=["a"]) == "ecbd"
    assert shaped("abcdef", pinned=["f", "e", "f"], k=2) == "fe"
    assert shaped("ab", blocked=["a", "b"]) == ""
    assert Rules(pinned=["e", "h"]).wanted(Shelf(data())).tolist() == [4, 7]


def test_caps_hold_for_every_category_of_an_item_and_pins_count():
    assert shaped("abcefg", max_per_category=2) == "abef"
    assert shaped("abcefg", category_caps={"War": 0}) == "abef"
    assert shaped("abcefg", max_per_category=1, category_caps={"Dance": 3}) == "aefg"
    assert shaped("abcefg", max_per_category=1, pinned=["b", "c"]) == "bce"  # a pin may break a cap, and fills it
    assert shaped("abcefg", max_per_category=1, cap_column="maker", k=5) == "acg"


def test_fresh_items_are_preferred_or_required():
    first = Shelf(data())  # first interactions: item n, 100 - 10 n days before 2020-03-31; the last day is that of g
    assert shaped("abcdefg", freshness="require", newer_than_days=15, shelf=first) == "fg"
    assert shaped("abcdefg", freshness="prefer", newer_than_days=15, shelf=first) == "fgab"
    assert shaped("abcdefgh", freshness="require", newer_than_days=10_000, k=8, shelf=first) == "abcdefg"  # nobody has met h
    untimed = Shelf(data(time=None))
    by_date = {"freshness": "require", "date_column": "made", "shelf": untimed, "k": 8}
    assert shaped("abcdefgh", newer_than_days=11, **by_date) == "ceh"
    assert shaped("abcdefgh", newer_than_days=30, pinned=["f"], **by_date) == "fbceh"


def test_dates_may_be_text_years_or_unix_times():
    assert seconds(pd.Series(["1970-01-03", None, "soon"])).tolist()[:1] == [2 * DAY]
    assert np.isnan(seconds(pd.Series(["1970-01-03", None, "soon"]))[1:]).all()
    assert seconds(pd.Series([1970.0, 1971.0]))[1] == pytest.approx(365.2425 * DAY)
    assert seconds(pd.Series([1_600_000_000, 1_600_000_001])).tolist() == [1_600_000_000, 1_600_000_001]
    assert seconds(pd.Series([1_600_000_000_500, 1_600_000_001_000])).tolist() == [1_600_000_000.5, 1_600_000_001]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_may_be_dates_as_any_unit_and_as_europe_writes_them(unit):
    wanted = [1_583_366_400, 1_585_612_800]
    table = pd.DataFrame({"made": pd.to_datetime(pd.Series(["2020-03-05", "2020-03-31", None])).astype(f"datetime64[{unit}]")})
    written = pd.Series(["05.03.2020", "31.03.2020", None])
    for column in (
        table["made"],
        table["made"].dt.tz_localize("UTC"),
        written,
        written.str.replace(".", "/"),
        pd.Series([20200305, 20200331, None]),
    ):
        found = seconds(column)
        assert found[:2].tolist() == wanted and np.isnan(found[2])


def test_providers_get_their_smallest_share_as_far_as_there_are_candidates():
    column = {"provider_column": "maker"}
    assert shaped("abfcdeg", provider_shares={"Y": 0.5}, **column) == "abcd"
    assert shaped("abfcdeg", provider_shares={"Z": 0.01}, **column) == "abfg"  # rounded up to one place
    assert shaped("abfcdeg", provider_min_share=0.25, **column) == "abcg"
    assert shaped("abfcd", provider_shares={"Z": 0.5}, **column) == "abfc"  # there is none
    assert shaped("abfceg", provider_shares={"Y": 0.5}, max_per_category=1, **column) == "af"  # caps go before shares
    assert shaped("abcefgh", 3, provider_min_share=1 / 3, pinned=["h"], **column) == "hac"  # a pin of nobody's takes a place of theirs


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"pinned": ["a", "zz"]}, "pinned: item 'zz' is not in the data"),
        ({"blocked": ["q", "r", "s"]}, "blocked: item 'q' and 2 others are not in the data"),
        ({"pinned": ["a"], "blocked": ["a"]}, "'a' is both pinned and blocked"),
        ({"category_caps": {"Crme": 1}}, "no category 'Crme'. Did you mean 'Crime'"),
        ({"category_caps": {"Crime": -1}}, "cap of 'Crime' must be 0 or more; got -1"),
        ({"cap_column": "studio", "max_per_category": 1}, "no column 'studio'. Columns: genres, maker, made"),
        ({"freshness": "prefer", "date_column": "mode"}, "no column 'mode'. Did you mean 'made'"),
        ({"freshness": "prefer", "date_column": "genres"}, "'genres' holds no dates"),
        ({"provider_min_share": 0.2}, "needs a provider_column"),
        ({"provider_column": "maker", "provider_shares": {"W": 0.2}}, "no value 'W'. Values: X, Y, Z"),
        ({"provider_column": "maker", "provider_shares": {"X": 1.2}}, "share of 'X' must be from 0 to 1; got 1.2"),
        ({"provider_column": "maker", "provider_min_share": 0.4}, "3 providers add up to 120%"),
        ({"provider_column": "maker", "provider_min_share": 0.3}, "3 providers take 6 places, each rounded up; a list has 4"),
    ],
)
def test_rules_that_do_not_fit_the_data_are_refused_with_what_there_is(rules, message):
    with pytest.raises(BadInput) as caught:
        shaped("abcdef", **rules)
    assert message in str(caught.value)


def test_rules_that_need_a_table_or_times_say_so():
    bare = Shelf(data(item_table=None, time=None))
    for rules, message in (
        ({"max_per_category": 1}, "the items have none"),
        ({"freshness": "require"}, "the interactions have no times"),
        ({"provider_column": "maker", "provider_min_share": 0.1}, "no item table"),
    ):
        with pytest.raises(BadInput, match=message):
            Rules(**rules).check(bare)


# ---- the metric calibration aims at --------------------------------------------------------------
def test_miscalibration_by_hand():
    """User 0 had three items of Crime, one of them half War: shares 2.5 : 0.5 of 3 (d has no category and is left out)."""
    train = data()
    test = Holdout(replace(train, user=np.array([0, 5]), item=np.array([5, 0]), value=np.ones(2), time=None))
    top = TopK(np.array([0, 5], dtype=np.int32), np.array([[4, 2, 3], [0, 1, 2]], dtype=np.int32), np.zeros((2, 3), np.float32))
    got = evaluate(top, test, Catalog(train), [3], metrics=["miscalibration"]).per_user["miscalibration@3"]
    p = {"Crime": 2.5 / 3, "War": 0.5 / 3}
    q = {"Crime": 0.25, "War": 0.25}  # of the list: one of Dance, one of Crime and War
    assert got[0] == pytest.approx(sum(share * math.log(share / (0.99 * q[g] + 0.01 * share)) for g, share in p.items()))
    assert got[5] == pytest.approx(math.log(1 / 0.01))
