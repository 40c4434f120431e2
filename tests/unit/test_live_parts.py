"""The parts of the predictor against slow, obvious versions of them and against known libraries."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.feature_extraction.text import TfidfVectorizer

from recsys_core.cli import main
from recsys_core.errors import BadInput
from recsys_core.serving.live.drift import Drift, wilson
from recsys_core.serving.live.filters import ItemFilters
from recsys_core.serving.live.newcomers import NEIGHBOURS, Content
from recsys_core.serving.live.popularity import Popularity
from recsys_core.serving.live.records import Filters
from tests.unit.live_help import GENRES, bundle_file

DAY = 86_400.0


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=6),
    came=st.lists(st.tuples(st.integers(0, 8), st.floats(0, 900)), max_size=25),
    half_life=st.floats(1, 60),
)
def test_popularity_is_that_of_counts_that_fade_one_by_one(counts: list[int], came: list[tuple[int, float]], half_life: float) -> None:
    fast, slow, now = Popularity(np.array(counts), half_life), [float(c) for c in counts] + [0.0] * 9, 0.0
    for item, moved in came:
        fast.add(item, now + moved * DAY)
        if came[0] != (item, moved) or now:  # training counts begin to fade with the first event
            slow = [value * 0.5 ** (moved / half_life) for value in slow]
        slow[item] += 1
        now += moved * DAY
    wanted = np.array(slow) / max(max(slow), 1e-300)
    found, clear = fast.scores(len(slow)), wanted > 1e-25
    assert np.allclose(found[clear], wanted[clear], rtol=1e-4) and (found[~clear] <= 1e-24).all()


def test_popularity_takes_an_event_late_and_one_after_very_long() -> None:
    one = Popularity(np.zeros(2), 1.0)
    one.add(0, 10 * DAY)
    one.add(1, 9 * DAY)  # a day before: worth half
    assert one.scores(2).tolist() == [1.0, 0.5]
    one.add(1, 5000 * DAY)
    assert one.scores(2)[1] == 1.0 and one.scores(2)[0] < 1e-20 and np.isfinite(one.scores(3)).all()


def test_an_event_from_before_the_data_makes_the_data_no_older() -> None:
    one = Popularity(np.array([4.0, 0.0]), 30.0, since=20_000 * DAY)
    one.add(1, 0.0)
    one.add(1, 20_000 * DAY)
    assert one.scores(2).tolist() == [1.0, 0.25]


def some_table(n: int = 60) -> dict[str, list]:
    rng = np.random.default_rng(3)
    words = ["river", "night", "long", "house", "sea", "red", "green", "last"]
    return {
        "genres": ["|".join(rng.choice(GENRES, rng.integers(1, 4), replace=False)) if code % 9 else None for code in range(n)],
        "about": [" ".join(rng.choice(words, 6)) + f" number{code}" for code in range(n)],
        "year": [int(year) for year in rng.integers(1980, 1990, n)],
        "price": [float(price) for price in rng.random(n)],
    }


def plain_tokens(table: dict[str, list], code: int) -> list[str]:
    found = [f"g={part.lower()}" for part in (table["genres"][code] or "").split("|") if part]
    return found + [f"a:{word}" for word in table["about"][code].split()] + [f"y={table['year'][code]}"]


def test_content_is_that_of_scikit_learn() -> None:
    table, n_known = some_table(), 50
    tfidf = TfidfVectorizer(analyzer=lambda tokens: tokens)
    known = tfidf.fit_transform([plain_tokens(table, code) for code in range(n_known)])
    later = tfidf.transform([plain_tokens(table, code) for code in range(n_known, 60)])
    content = Content({name: cells[:n_known] for name, cells in table.items()}, n_known)
    for code in range(n_known, 60):
        content.add(code, {name: cells[code] for name, cells in table.items()})
    both = np.vstack([known.toarray(), later.toarray()])
    for code in (0, 7, 49, 50, 59):
        assert np.allclose(content.likeness([code], 60), both @ both[code], atol=1e-5)
    mean = both[[3, 55]].sum(axis=0)
    assert np.allclose(content.likeness([3, 55], 60), both @ (mean / np.linalg.norm(mean)), atol=1e-5)
    scores = np.random.default_rng(0).random(n_known).astype(np.float32)
    scores[5] = -np.inf
    found = content.extended(scores, 60)
    assert np.array_equal(found[:n_known], scores)
    for code in range(n_known, 60):
        like = known.toarray() @ both[code]
        near = [c for c in np.argsort(-like, kind="stable")[:NEIGHBOURS] if like[c] > 0.05 and np.isfinite(scores[c])]
        assert found[code] == pytest.approx(np.average(scores[near], weights=like[near]), rel=1e-4)


def test_later_items_of_which_nothing_is_known_get_no_score() -> None:
    content = Content(some_table(), 60)
    content.add(60, {"genres": "Western", "colour": "red"})
    content.add(63, {"genres": "War"})
    found = content.extended(np.ones(60, np.float32), 64)
    assert found[60:].tolist() == [-np.inf, -np.inf, -np.inf, 1.0]
    assert content.extended(np.ones(60, np.float32), 62)[60:].tolist() == [-np.inf, -np.inf], "an item others do not know yet"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_filters_are_those_of_a_loop(draw: st.DataObject) -> None:
    table, n_known, n = some_table(), 50, 60
    filters = ItemFilters({name: cells[:n_known] for name, cells in table.items()}, n_known)
    for code in range(n_known, n):
        filters.add(code, {name: cells[code] for name, cells in table.items() if name != "price"})
    include = draw.draw(st.dictionaries(st.just("genres"), st.lists(st.sampled_from([*GENRES, "war ", "Western"]), max_size=3)))
    include |= draw.draw(st.dictionaries(st.just("year"), st.lists(st.integers(1980, 1990) | st.floats(1984, 1985), max_size=3)))
    low = draw.draw(st.dictionaries(st.sampled_from(["year", "price"]), st.floats(0, 1990)))
    high = draw.draw(st.dictionaries(st.sampled_from(["year", "price"]), st.floats(0, 1990)))
    gone = draw.draw(st.lists(st.integers(0, 70).map(str), max_size=5))
    only = draw.draw(st.none() | st.lists(st.integers(0, 70).map(str), max_size=30))
    asked = Filters(include, low, high, gone, only)

    def passes(code: int) -> bool:
        cells = {name: cells[code] for name, cells in table.items()} | ({"price": None} if code >= n_known else {})
        for name, values in include.items():
            has = {part.strip().lower() for part in str(cells[name]).split("|")} if cells[name] is not None else set()
            if not has & {str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip().lower() for v in values}:
                return False
        if any(cells[name] is None or cells[name] < bound for name, bound in low.items()):
            return False
        if any(cells[name] is None or cells[name] > bound for name, bound in high.items()):
            return False
        return str(code) not in gone and (only is None or str(code) in only)

    for known in (n_known, n):
        found = filters.allowed(asked, known, lambda item: int(item) if int(item) < n else -1)
        assert found.tolist() == [passes(code) for code in range(known)]


@pytest.mark.parametrize("wrong", [{"include": {"genres": "War"}}, {"at_least": {"year": "old"}}, {"at_most": {"year": math.nan}},
                                   {"exclude": "abc"}, {"only": [1]}])  # fmt: skip
def test_filters_that_are_none_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput):
        Filters(**wrong)


def test_the_interval_is_that_of_wilson_and_drift_asks_to_train_again() -> None:
    for hits, n in ((0, 5), (3, 10), (200, 500), (500, 500)):
        known, found = binomtest(hits, n).proportion_ci(method="wilson"), wilson(hits, n)
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-4)
    drift = Drift()
    for number in range(500):
        drift.add(number % 2 == 0)
    assert drift.reference == 0.5 and not drift.retrain and not drift.as_dict()["retrain"]
    for number in range(500):
        drift.add(number % 100 < 45)
    assert drift.now.rate == 0.45 and not drift.retrain, "nine tenths of what it was: could be chance"
    for number in range(500):
        drift.add(number % 10 < 3)
    assert drift.retrain and "time to train again" in drift.sentence and json.dumps(drift.as_dict(), allow_nan=False)
    assert [point[0] for point in drift.points][:2] == [100, 125] and drift.points[-1][0] == 1500


def test_ask_prints_a_list_how_it_came_about_and_why(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(bundle_file(tmp_path / "bundle.zip"))
    assert main(["ask", "--bundle", path, "--history", "i010,i015,nobody", "--k", "3", "--json"]) in (0, None)
    answer = json.loads(capsys.readouterr().out)
    assert answer["unknown"] and answer["path"] in ("fold-in", "popular")
    assert main(["ask", "--bundle", path, "--user", "a stranger", "--k", "3", "--explain", answer["items"][0]]) == 0
    printed = capsys.readouterr().out
    assert "Film" in printed and "Path: popular" in printed
    assert main(["ask", "--bundle", path]) == 2
