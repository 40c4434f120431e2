"""Re-rankers against slow loops that follow the papers' formulas one list and one item at a time, and against pyversity."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import TopK
from recsys_core.metrics import evaluate
from recsys_core.rerank import dpp as dpp_module
from recsys_core.rerank._base import Shelf, scaled
from recsys_core.rerank._rows import CandidateRows
from recsys_core.rerank.calibrated import Calibrated
from recsys_core.rerank.dpp import DPP
from recsys_core.rerank.long_tail_quota import LongTailQuota
from recsys_core.rerank.mmr import MMR
from recsys_core.rerank.popularity_discount import PopularityDiscount
from recsys_core.rerank.rules import Rules
from recsys_core.rerank.xquad import XQuAD

N_USERS, N_ITEMS, DEPTH, K = 12, 60, 25, 8
STRENGTHS = (0.05, 0.3, 0.6, 0.95)
GENRES = ["a", "b", "c", "d", "e", "f"]


def shelf_of(n_tags: int = 0) -> Shelf:
    """12 users, 60 items of one to three genres (or of tags out of many), a third of the cells."""
    rng = np.random.default_rng(5)
    user, item = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.3)
    names = GENRES if not n_tags else [f"tag{n}" for n in range(n_tags)]
    genres = ["|".join(rng.choice(names, rng.integers(1, 4), replace=False)) for _ in range(N_ITEMS)]
    table = pd.DataFrame({"genres": genres, "maker": [f"m{n % 5}" for n in range(N_ITEMS)]})
    ids = IdMap(range(N_USERS)), IdMap(range(N_ITEMS))
    return Shelf(Dataset(*ids, user, item, rng.integers(1, 6, len(user)), threshold=3.0, item_table=table))


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return shelf_of()


@pytest.fixture(scope="module")
def given(shelf: Shelf) -> TopK:
    rng = np.random.default_rng(6)
    items = np.stack([rng.permutation(N_ITEMS)[:DEPTH] for _ in range(N_USERS)]).astype(np.int32)
    scores = -np.sort(-rng.normal(size=(N_USERS, DEPTH)), axis=1).astype(np.float32)
    items[3, 10:], scores[3, 10:] = -1, np.nan  # a short list
    return TopK(np.arange(N_USERS, dtype=np.int32), items, scores)


def greedy(given: TopK, gain) -> np.ndarray:
    """The lists of picking, K times, the candidate with the largest gain(row, relevance, columns chosen, column)."""
    out = np.full((len(given), K), -1)
    for row in range(len(given)):
        there = [c for c in range(DEPTH) if given.items[row, c] >= 0]
        scores = given.scores[row, there].astype(np.float64)
        relevance = (scores - scores.min()) / (scores.max() - scores.min())
        chosen: list[int] = []
        for place in range(min(K, len(there))):
            left = [c for c in there if c not in chosen]
            gains = [gain(row, relevance, chosen, c) for c in left]
            chosen.append(left[next(i for i, g in enumerate(gains) if g >= max(gains) - 1e-6)])
            out[row, place] = given.items[row, chosen[-1]]
    return out


def cosine(one: str, other: str) -> float:
    a, b = set(one.split("|")), set(other.split("|"))
    return len(a & b) / math.sqrt(len(a) * len(b))


def genres_of(shelf: Shelf, item: int) -> dict[str, float]:
    own = shelf.item_table["genres"][item].split("|")
    return {g: 1 / len(own) for g in own}


def taste_of(shelf: Shelf, user: int) -> dict[str, float]:
    data, out = shelf.train, dict.fromkeys(GENRES, 0.0)
    liked = {i for u, i, v in zip(data.user, data.item, data.value, strict=True) if u == user and v >= 3}
    for item in liked:
        for genre, share in genres_of(shelf, item).items():
            out[genre] += share / len(liked)
    return out


@pytest.mark.parametrize("s", STRENGTHS)
def test_mmr(shelf, given, s):
    words = shelf.item_table["genres"]

    def gain(row, relevance, chosen, c):
        worst = max((cosine(words[given.items[row, c]], words[given.items[row, o]]) for o in chosen), default=0)
        return (1 - s) * relevance[c] - s * worst

    np.testing.assert_array_equal(MMR(strength=s).rerank(given, K, shelf).items, greedy(given, gain))


@pytest.mark.parametrize("s", STRENGTHS)
def test_dpp_is_the_greedy_maximum_of_the_determinant(shelf, given, s):
    words = shelf.item_table["genres"]

    def log_det(row, columns):
        if not columns:
            return 0.0
        kernel = [[cosine(words[given.items[row, a]], words[given.items[row, b]]) for a in columns] for b in columns]
        return np.linalg.slogdet(0.9 * np.array(kernel) + 0.1 * np.eye(len(columns)))[1]

    def gain(row, relevance, chosen, c):
        return (1 - s) * relevance[c] + s * (log_det(row, [*chosen, c]) - log_det(row, chosen))

    np.testing.assert_array_equal(DPP(strength=s).rerank(given, K, shelf).items, greedy(given, gain))


@pytest.mark.parametrize("s", STRENGTHS)
def test_xquad(shelf, given, s):
    tastes = [taste_of(shelf, user) for user in range(N_USERS)]

    def served(row, chosen, c):
        out = 0.0
        for genre, share in genres_of(shelf, given.items[row, c]).items():
            missing = math.prod(1 - genres_of(shelf, given.items[row, o]).get(genre, 0) for o in chosen)
            out += tastes[row][genre] * share * missing
        return out

    first = [max(served(row, [], c) for c in range(DEPTH) if given.items[row, c] >= 0) for row in range(N_USERS)]

    def gain(row, relevance, chosen, c):
        return (1 - s) * relevance[c] + s * served(row, chosen, c) / first[row]

    np.testing.assert_array_equal(XQuAD(strength=s).rerank(given, K, shelf).items, greedy(given, gain))


@pytest.mark.parametrize("s", STRENGTHS)
def test_calibration(shelf, given, s):
    tastes = [taste_of(shelf, user) for user in range(N_USERS)]

    def divergence(row, columns):
        mix = dict.fromkeys(GENRES, 0.0)
        for c in columns:
            for genre, share in genres_of(shelf, given.items[row, c]).items():
                mix[genre] += share / len(columns)
        return sum(p * math.log(p / (0.99 * mix[g] + 0.01 * p)) for g, p in tastes[row].items() if p > 0)

    def gain(row, relevance, chosen, c):
        return (1 - s) * sum(relevance[o] for o in [*chosen, c]) - s * divergence(row, [*chosen, c])

    np.testing.assert_array_equal(Calibrated(strength=s).rerank(given, K, shelf).items, greedy(given, gain))


@pytest.mark.parametrize("s", STRENGTHS)
@pytest.mark.parametrize("towards", ["less_known", "own_level"])
def test_popularity_discount(shelf, given, s, towards):
    users_of = [len({u for u, i, v in zip(shelf.train.user, shelf.train.item, shelf.train.value, strict=True) if i == n and v >= 3})
                for n in range(N_ITEMS)]  # fmt: skip
    level = [math.log(1 + n) / math.log(1 + max(users_of)) for n in users_of]
    expected = np.full((N_USERS, K), -1)
    for row in range(N_USERS):
        liked = {i for u, i, v in zip(shelf.train.user, shelf.train.item, shelf.train.value, strict=True) if u == row and v >= 3}
        usual = np.mean([level[i] for i in liked])
        relevance = scaled(given.scores[[row]], given.items[[row]] >= 0)[0].astype(float)
        values = {c: relevance[c] - s * (level[i] if towards == "less_known" else abs(level[i] - usual))
                  for c, i in enumerate(given.items[row]) if i >= 0}  # fmt: skip
        order = sorted(values, key=lambda c, values=values: (-values[c], c))[:K]
        expected[row, : len(order)] = given.items[row, order]
    got = PopularityDiscount(strength=s, towards=towards).rerank(given, K, shelf)
    np.testing.assert_array_equal(got.items, expected)


@pytest.mark.parametrize("s", [0.01, 0.25, 0.5, 1.0])
def test_long_tail_quota_is_the_best_list_that_keeps_it(shelf, given, s):
    """Of all lists with the quota, in the order of the candidates, the one with the best sum of places."""
    tail = shelf.catalog.long_tail > 0
    some, k = replace(given, items=given.items[:, :10], scores=given.scores[:, :10]), 4
    got = LongTailQuota(strength=s).rerank(some, k, shelf).items
    for row in range(N_USERS):
        items = [i for i in some.items[row] if i >= 0]
        quota = min(math.ceil(s * k), sum(tail[i] for i in items))
        allowed = [c for c in itertools.combinations(range(len(items)), k) if sum(tail[items[i]] for i in c) >= quota]
        best = min(allowed, key=lambda c: (sum(c), c))
        assert sum(best) == sum(items.index(i) for i in got[row])
        assert sum(tail[i] for i in got[row]) >= quota and [items.index(i) for i in got[row]] == sorted(items.index(i) for i in got[row])


def test_caps_and_shares_against_one_list_at_a_time(shelf, given):
    method = Rules(max_per_category=3, category_caps={"a": 1}, provider_column="maker", provider_shares={"m1": 0.4})
    got = method.rerank(given, K, shelf).items
    for row in range(N_USERS):
        there, full = [int(i) for i in given.items[row] if i >= 0], dict.fromkeys(GENRES, 3) | {"a": 1}
        due = min(4, sum(i % 5 == 1 for i in there))
        taken: list[int] = []
        for reserve in (True, False):
            for item in there:
                own = shelf.item_table["genres"][item]
                owed = item % 5 == 1 and due > 0
                if item in taken or len(taken) == K or any(full[g] < 1 for g in own.split("|")):
                    continue
                if reserve and K - len(taken) - 1 < due - owed:
                    continue
                taken.append(item)
                due -= owed
                for genre in own.split("|"):
                    full[genre] -= 1
        assert [i for i in got[row] if i >= 0] == sorted(taken, key=there.index)


# ---- another library, and wide tables ------------------------------------------------------------
def one_list(seed: int) -> tuple[Shelf, TopK, np.ndarray, np.ndarray]:
    """(shelf, one list, its vectors, its relevance): vectors without negative products, as pyversity cuts those off."""
    shelf = shelf_of()
    rng = np.random.default_rng(seed)
    vectors = np.abs(rng.normal(size=(N_ITEMS, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shelf.__dict__["traits"] = vectors
    items = rng.permutation(N_ITEMS)[:DEPTH].astype(np.int32)
    scores = -np.sort(-rng.normal(size=DEPTH)).astype(np.float32)
    top = TopK(np.zeros(1, np.int32), items[None], scores[None])
    return shelf, top, vectors[items], scaled(scores[None], np.ones((1, DEPTH), bool))[0]


@pytest.mark.parametrize("seed", range(4))
def test_mmr_against_pyversity(seed):
    from pyversity import Strategy, diversify

    shelf, top, vectors, relevance = one_list(seed)
    for s in STRENGTHS:
        theirs = diversify(vectors, relevance, k=K, strategy=Strategy.MMR, diversity=s)
        np.testing.assert_array_equal(MMR(strength=s).rerank(top, K, shelf).items[0], top.items[0][theirs.indices])


@pytest.mark.parametrize("seed", range(4))
def test_dpp_against_pyversity(seed, monkeypatch):
    """Their weights are exp(beta · z-score), so s = std / (std + 2 beta) gives the same gains; they have no share of one's own."""
    from pyversity import Strategy, diversify

    monkeypatch.setattr(dpp_module, "OWN", np.float32(0))
    shelf, top, vectors, relevance = one_list(seed)
    for beta in (0.1, 0.5, 0.9):
        s = 1 / (1 + 2 * beta / relevance.std())
        theirs = diversify(vectors, relevance, k=K, strategy=Strategy.DPP, diversity=1 - beta)
        np.testing.assert_array_equal(DPP(strength=s).rerank(top, K, shelf).items[0], top.items[0][theirs.indices])


def test_wide_tables_stay_sparse_and_give_the_same_products():
    rng = np.random.default_rng(0)
    table = sparse.random(N_ITEMS, 500, density=0.01, format="csr", dtype=np.float32, random_state=1)
    items = np.stack([rng.permutation(N_ITEMS)[:DEPTH] for _ in range(N_USERS)]).astype(np.int32)
    items[2, 7:] = -1
    wide, dense = CandidateRows(table, items), CandidateRows(table.toarray(), items)
    assert wide.dense is None and dense.dense is not None
    vectors = rng.random((N_USERS, 500)).astype(np.float32)
    np.testing.assert_allclose(wide.times(vectors), dense.times(vectors), atol=1e-6)
    np.testing.assert_array_equal(wide.of(np.arange(N_USERS)), dense.of(np.arange(N_USERS)))


@pytest.mark.parametrize("method", [MMR, DPP, XQuAD, Calibrated])
def test_lists_by_wide_tables_are_those_by_dense_ones(method, given, monkeypatch):
    shelf = shelf_of(n_tags=200)
    wide = method(strength=0.4).rerank(given, K, shelf)
    monkeypatch.setattr("recsys_core.rerank._rows.DENSE_COLUMNS", 10_000)
    np.testing.assert_array_equal(wide.items, method(strength=0.4).rerank(given, K, shelf).items)


def test_calibration_reaches_its_aim_where_many_items_have_no_category():
    """A third of the items has none. What they would borrow looks like everybody's taste; the metric leaves them out."""
    whole, rng = shelf_of(), np.random.default_rng(9)
    genres = whole.item_table["genres"].where(rng.random(N_ITEMS) > 0.35, None)
    shelf = Shelf(replace(whole.train, item_table=whole.item_table.assign(genres=genres)))
    items = np.stack([rng.permutation(N_ITEMS) for _ in range(N_USERS)]).astype(np.int32)
    deep = TopK(np.arange(N_USERS, dtype=np.int32), items, np.tile(np.arange(N_ITEMS, 0, -1, dtype=np.float32), (N_USERS, 1)))
    everything = Holdout(whole.train)

    def miscalibration(top):
        return evaluate(top, everything, shelf.catalog, [K], metrics=["miscalibration"]).per_user.iloc[:, 0].mean()

    curve = [miscalibration(Calibrated(strength=s).rerank(deep, K, shelf)) for s in (0.0, 0.3, 0.6, 1.0)]
    assert (np.diff(curve) < 0).all() and curve[-1] < 0.1, curve
    assert "serve none of a user's interests" in Calibrated.notes(shelf)[0] and "count as like" in XQuAD.notes(shelf)[0]
    assert Calibrated.notes(whole) == [] and PopularityDiscount.notes(shelf) == []


def test_users_without_a_past_keep_their_lists_under_calibration(shelf, given):
    nobody = Histories.from_lists([[]] * len(given))
    np.testing.assert_array_equal(Calibrated(strength=0.7).rerank(given, K, shelf, nobody).items, given.items[:, :K])
