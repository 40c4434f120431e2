"""Neighbourhood and linear models against slow, plain reference computations of their papers' formulas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.errors import JobFailed, Unsupported
from recsys_core.models.baseline.popular import Popular
from recsys_core.models.baseline.random import Random
from recsys_core.models.cf import _neighbours
from recsys_core.models.cf._ease import invert
from recsys_core.models.cf.ease import Ease
from recsys_core.models.cf.item_knn import ItemKnn
from recsys_core.models.cf.rp3beta import Rp3beta
from recsys_core.models.cf.seq_item_knn import SeqItemKnn
from recsys_core.models.cf.slim import Slim
from recsys_core.models.cf.user_knn import UserKnn
from recsys_core.testing import tastes

N_USERS, N_ITEMS = 30, 12


@pytest.fixture(scope="module")
def data() -> Dataset:
    """30 users, 12 items, about a third of the cells; counts from 1 to 4; the order is the time."""
    rng = np.random.default_rng(3)
    user, item = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.35)
    order = rng.permutation(len(user))
    users, items = IdMap([f"u{n}" for n in range(N_USERS)]), IdMap([f"i{n}" for n in range(N_ITEMS)])
    return Dataset(users, items, user[order], item[order], rng.integers(1, 5, len(user)), np.arange(len(user)) * 100)


@pytest.fixture(scope="module")
def x(data: Dataset) -> np.ndarray:
    return data.matrix("binary").toarray().astype(np.float64)


def everyone(data: Dataset) -> np.ndarray:
    return np.flatnonzero(np.diff(data.matrix("seen").indptr))


def only_evidence(scores: np.ndarray, expected: np.ndarray) -> None:
    """Scores equal the reference where there is evidence; all others come after, the most popular first."""
    np.testing.assert_allclose(scores[expected > 0], expected[expected > 0], rtol=2e-4)
    assert (scores[expected <= 0] < 0).all()


# ---- neighbours ------------------------------------------------------------------------------------
@pytest.mark.parametrize("values", ["ignore", "log", "linear"])
@pytest.mark.parametrize(
    ("similarity", "alpha", "shrinkage", "k"), [("cosine", 0.5, 0.0, 12), ("asymmetric", 0.3, 5.0, 4), ("cosine", 0.9, 2.0, 3)]
)
def test_item_knn_is_the_formula(data: Dataset, values: str, similarity: str, alpha: float, shrinkage: float, k: int) -> None:
    raw = data.matrix("count").toarray().astype(np.float64)
    x = {"ignore": (raw > 0) * 1.0, "log": np.log1p(raw), "linear": raw}[values]
    scaled = x / math.sqrt((x[x > 0] ** 2).mean())
    lean = alpha if similarity == "asymmetric" else 0.5
    weights = np.zeros((N_ITEMS, N_ITEMS))
    for scored in range(N_ITEMS):
        for source in range(N_ITEMS):
            if scored != source:
                dot = sum(scaled[u, scored] * scaled[u, source] for u in range(N_USERS))
                size = np.linalg.norm(scaled[:, scored]) ** (2 * lean) * np.linalg.norm(scaled[:, source]) ** (2 - 2 * lean)
                weights[source, scored] = dot / (size + shrinkage)
        weights[np.argsort(-weights[:, scored], kind="stable")[k:], scored] = 0
    model = ItemKnn(similarity=similarity, alpha=alpha, shrinkage=shrinkage, neighbours=k, weighting="none", values=values).fit(data)
    users = everyone(data)
    only_evidence(model.scores(users), (x @ weights)[users])


@pytest.mark.parametrize("weighting", ["tfidf", "idf", "bm25"])
def test_term_weights_are_the_formula(data: Dataset, weighting: str) -> None:
    counts = data.matrix("count")
    idf = _neighbours.inverse_frequency(counts)
    mean = float(counts.sum() / N_USERS)
    got = _neighbours.weigh(counts, weighting, idf, mean, 1.2, 0.75).toarray()
    dense = counts.toarray()
    for u in range(N_USERS):
        for i in np.flatnonzero(dense[u]):
            term = math.log(1 + N_USERS / (dense[:, i] > 0).sum())
            tf, length = dense[u, i], dense[u].sum()
            expected = {
                "tfidf": math.sqrt(tf) * term,
                "idf": tf * math.sqrt(term),
                "bm25": tf * 2.2 / (1.2 * (0.25 + 0.75 * length / mean) + tf) * term,
            }[weighting]
            assert got[u, i] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("weighting", "similarity"), [("none", "cosine"), ("tfidf", "asymmetric"), ("bm25", "cosine")])
def test_user_knn_is_the_formula_and_a_user_is_not_their_own_neighbour(
    data: Dataset, x: np.ndarray, weighting: str, similarity: str
) -> None:
    k, shrinkage, alpha = 5, 3.0, 0.3
    binary = data.matrix("binary")
    mean = binary.sum() / (np.diff(binary.indptr) > 0).sum()
    w = _neighbours.weigh(binary, weighting, _neighbours.inverse_frequency(binary), mean, 1.2, 0.75).toarray().astype(np.float64)
    w /= math.sqrt((w[w > 0] ** 2).mean())
    lean = alpha if similarity == "asymmetric" else 0.5
    expected = np.zeros_like(x)
    for u in range(N_USERS):
        near = []
        for v in range(N_USERS):
            size = np.linalg.norm(w[u]) ** (2 * lean) * np.linalg.norm(w[v]) ** (2 - 2 * lean)
            near.append(0.0 if u == v else float(w[u] @ w[v]) / (size + shrinkage))
        for v in np.argsort(-np.array(near), kind="stable")[:k]:
            expected[u] += near[v] * x[v]
    model = UserKnn(weighting=weighting, similarity=similarity, alpha=alpha, shrinkage=shrinkage, neighbours=k).fit(data)
    users = everyone(data)
    only_evidence(model.scores(users), expected[users])


def test_rp3beta_is_the_formula(data: Dataset, x: np.ndarray) -> None:
    alpha, beta = 0.8, 0.4
    to_item = np.divide(x, x.sum(1, keepdims=True), out=np.zeros_like(x), where=x.sum(1, keepdims=True) > 0) ** alpha * (x > 0)
    to_user = np.divide(x.T, x.T.sum(1, keepdims=True), out=np.zeros_like(x.T), where=x.T.sum(1, keepdims=True) > 0) ** alpha * (x.T > 0)
    weights = (to_user @ to_item) / np.maximum(x.sum(0), 1) ** beta
    np.fill_diagonal(weights, 0)
    model = Rp3beta(alpha=alpha, beta=beta, neighbours=N_ITEMS).fit(data)
    users = everyone(data)
    only_evidence(model.scores(users), (x @ weights)[users])


def test_neighbours_are_the_same_however_the_work_is_cut(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    case = tastes()
    whole = ItemKnn(neighbours=7).fit(case.train)._weights
    monkeypatch.setattr(_neighbours, "BLOCK_ENTRIES", 500)
    cut = ItemKnn(neighbours=7).fit(case.train)._weights
    assert abs(whole - cut).max() == 0
    assert (np.diff(whole.tocsc().indptr) <= 7).all()


def test_largest_entries_agree_between_the_sparse_and_the_dense_way() -> None:
    from scipy import sparse

    rng = np.random.default_rng(0)
    thin = sparse.random(40, 400, density=0.05, random_state=rng, format="csr", dtype=np.float32)
    thin.data = np.round(thin.data * 8) / 8 - 0.25  # ties and values that must not survive
    got = _neighbours.keep_largest(thin, 6).toarray()
    for row, dense in zip(got, thin.toarray(), strict=True):
        best = [c for c in np.lexsort((np.arange(400), -dense)) if dense[c] > 0][:6]
        expected = np.zeros(400, np.float32)
        expected[best] = dense[best]
        np.testing.assert_array_equal(row, expected)
    thick = sparse.csr_matrix(np.where(rng.random((40, 30)) < 0.6, np.round(rng.normal(size=(40, 30)) * 4) / 4, 0).astype(np.float32))
    got = _neighbours.keep_largest(thick, 6).toarray()
    for row, dense in zip(got, thick.toarray(), strict=True):
        best = [c for c in np.lexsort((np.arange(30), -dense)) if dense[c] > 0][:6]
        assert set(np.flatnonzero(row)) == set(best)


# ---- order -----------------------------------------------------------------------------------------
def test_followers_are_counted_within_the_window() -> None:
    # a b c, a b d: b follows a twice at one step, c and d follow a once at two steps.
    frame = pd.DataFrame({"user": list("111222"), "item": list("abcabd"), "time": [1, 2, 3, 10, 20, 30]})
    data = from_frame(frame, time="time")
    for window, expected in (
        (1, {("a", "b"): 2, ("b", "c"): 1, ("b", "d"): 1}),
        (2, {("a", "b"): 2, ("b", "c"): 1, ("b", "d"): 1, ("a", "c"): 1, ("a", "d"): 1}),
    ):
        model = SeqItemKnn(order_share=1, window=window, alpha=0.25, neighbours=10).fit(data)
        counts = {"a": 2, "b": 2, "c": 1, "d": 1}
        got = model._weights.toarray()
        ideal = np.zeros((4, 4))
        for (before, after), times in expected.items():
            place = data.items.encode([before, after])
            ideal[place[0], place[1]] = times / (counts[before] ** 0.75 * counts[after] ** 0.25)
        np.testing.assert_allclose(got, ideal / (ideal.sum() / 4), rtol=1e-5)


def test_recent_items_weigh_more_and_old_ones_keep_their_share() -> None:
    model = SeqItemKnn(decay=0.5, long_term=0.2).fit(tastes().train)
    history = model._history_matrix(Histories.from_lists([[4, 9, 2, 9]])).toarray()[0]
    assert history[2] == pytest.approx(0.2 + 0.8 * 0.5)
    assert history[9] == pytest.approx((0.2 + 0.8) + (0.2 + 0.8 * 0.25))
    assert history[4] == pytest.approx(0.2 + 0.8 * 0.125)


def test_order_is_taken_from_times_else_from_the_file_and_said() -> None:
    case = tastes()
    from dataclasses import replace

    timed, plain = SeqItemKnn().fit(case.train), SeqItemKnn().fit(replace(case.train, time=None))
    assert not timed.notes and "order of the rows" in plain.notes[0]
    np.testing.assert_allclose(timed.scores(np.arange(9)), plain.scores(np.arange(9)))  # times ascend with the rows there
    turned = replace(case.train, time=case.train.time[::-1])
    assert not np.allclose(timed.scores(np.arange(9)), SeqItemKnn().fit(turned).scores(np.arange(9)))


# ---- linear ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_ease_is_the_closed_form_and_minimises_its_loss(data: Dataset, x: np.ndarray, dropout: float) -> None:
    penalty = 7.0 + dropout / (1 - dropout) * (x**2).sum(0)
    inverse = np.linalg.inv(x.T @ x + np.diag(penalty))
    weights = np.eye(N_ITEMS) - inverse / np.diag(inverse)
    model = Ease(regularization=7.0, dropout=dropout).fit(data)
    np.testing.assert_allclose(model._weights, weights, atol=1e-6)

    def loss(b: np.ndarray) -> float:
        return float(((x - x @ b) ** 2).sum() + (penalty[:, None] * b**2).sum())

    rng = np.random.default_rng(0)
    for _ in range(20):
        step = rng.normal(scale=0.01, size=weights.shape)
        np.fill_diagonal(step, 0)
        assert loss(weights + step) > loss(weights)


def test_ease_of_the_most_popular_items_equals_ease_of_that_catalogue(data: Dataset) -> None:
    model = Ease(regularization=7.0, max_items=6).fit(data)
    kept = np.sort(np.argsort(-data.item_counts, kind="stable")[:6])
    small = data.matrix("binary")[:, kept].toarray().astype(np.float64)
    inverse = np.linalg.inv(small.T @ small + 7 * np.eye(6))
    expected = np.zeros((N_USERS, N_ITEMS))
    expected[:, kept] = small @ (np.eye(6) - inverse / np.diag(inverse))
    users = everyone(data)
    np.testing.assert_allclose(model.scores(users), expected[users], atol=1e-6)
    assert "6 most popular of 12 items" in model.notes[0]
    left_out = int(np.setdiff1d(np.arange(N_ITEMS), kept)[0])
    assert model.explain(left_out, user=int(users[0])).total == 0
    similar = model.similar_items(np.array([kept[0], left_out]), 3)
    assert set(similar.items[0]) <= set(kept) and (similar.items[1] == -1).all()


def test_ease_chooses_its_size_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    stats = tastes().train.stats
    assert Ease().resolve(stats).max_items == stats.n_items
    from dataclasses import replace

    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"total": 8 * 2**30})())
    model, large = Ease(), replace(stats, n_items=500_000)
    assert model.resolve(large).max_items == 16_000
    assert model.cost(large).memory_bytes < 0.5 * 8 * 2**30
    assert Ease(max_items=30_000).cost(large).memory_bytes > 12 * 30_000**2


def test_in_place_inverse_equals_numpys_and_refuses_what_has_none() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(1_100, 1_200))  # more than two blocks
    square = a @ a.T + np.eye(1_100)
    expected = np.linalg.inv(square)
    invert(square)
    np.testing.assert_allclose(square, expected, atol=1e-8)
    with pytest.raises(JobFailed):
        invert(-np.eye(3))


def test_gram_equals_the_plain_product_and_can_be_cancelled(data: Dataset, x: np.ndarray) -> None:
    np.testing.assert_array_equal(_neighbours.gram(data.matrix("binary"), RunContext(threads=2)), x.T @ x)


def test_slim_meets_the_optimality_conditions(data: Dataset, x: np.ndarray) -> None:
    """Karush-Kuhn-Tucker: gradient + l1 is 0 at positive weights and not negative at zero ones."""
    l1, l2 = 0.7, 4.0
    weights = Slim(l1=l1, l2=l2, neighbours=N_ITEMS).fit(data)._weights.toarray().astype(np.float64)
    assert (weights >= 0).all() and (np.diag(weights) == 0).all() and (weights > 0).any()
    gradient = x.T @ (x @ weights - x) + l2 * weights + l1
    co_chosen = (x.T @ x > 0) & ~np.eye(N_ITEMS, dtype=bool)
    assert np.abs(gradient[weights > 0]).max() < 0.05
    assert gradient[(weights == 0) & co_chosen].min() > -0.05


def test_slim_equals_scikit_learn_on_the_whole_matrix(data: Dataset, x: np.ndarray) -> None:
    from sklearn.linear_model import ElasticNet

    l1, l2 = 0.7, 4.0
    weights = Slim(l1=l1, l2=l2, neighbours=N_ITEMS).fit(data)._weights.toarray()
    for item in range(N_ITEMS):
        others = np.delete(np.arange(N_ITEMS), item)
        net = ElasticNet(alpha=(l1 + l2) / N_USERS, l1_ratio=l1 / (l1 + l2), fit_intercept=False, positive=True, tol=1e-8, max_iter=10_000)
        net.fit(x[:, others], x[:, item])
        np.testing.assert_allclose(weights[others, item], net.coef_, atol=5e-3)


def test_slim_gives_the_same_without_the_whole_gram_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys_core.models.cf import slim

    train = tastes().train
    whole = Slim(neighbours=20).fit(train)._weights
    monkeypatch.setattr(slim, "DENSE_GRAM_BYTES", 0)
    assert abs(whole - Slim(neighbours=20).fit(train)._weights).max() < 1e-6


# ---- explanations, thresholds, baselines -----------------------------------------------------------
@pytest.mark.parametrize("model", [ItemKnn(), UserKnn(weighting="tfidf"), Rp3beta(), Ease(), Slim(), SeqItemKnn()], ids=lambda m: m.key)
def test_explanations_add_up_for_every_listed_item(model) -> None:
    train = tastes().train
    model.fit(train)
    for user in (0, 11, 57):
        top = model.recommend(np.array([user]), 8)
        for item, score in zip(top.items[0], top.scores[0], strict=True):
            if score > 0:
                told = model.explain(int(item), user=user, k=10_000)
                assert told.exact and sum(told.contributions) == pytest.approx(float(score), rel=1e-4)
                assert set(told.refs) <= set(train.histories(np.array([user])).items.tolist())


def test_entries_below_the_threshold_do_not_count_unless_there_is_nothing_else() -> None:
    histories = Histories.from_lists([[1, 2, 3], [4, 5], []], values=[[5, 2, 4], [1, 1], []])
    kept = histories.relevant(4.0)
    assert [kept.items[kept.indptr[n] : kept.indptr[n + 1]].tolist() for n in range(3)] == [[1, 3], [4, 5], []]
    assert histories.relevant(None) is histories


def test_items_without_evidence_come_last_by_popularity() -> None:
    scores = np.array([[0.0, 3.0, 0.0, 0.001, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    filled = _neighbours.fill_by_popularity(scores, np.array([0.5, 0.1, 1.0, 0.2, 0.5], np.float32))
    assert np.argsort(-filled[0], kind="stable").tolist() == [1, 3, 2, 0, 4]
    assert np.argsort(-filled[1], kind="stable").tolist() == [2, 0, 4, 3, 1]
    assert (filled[0][[0, 2, 4]] < 0).all() and filled[0].min() > -0.01


def test_popular_counts_users_and_fades_with_age() -> None:
    day = 86_400
    frame = pd.DataFrame({"user": list("abcd") + ["a", "b"], "item": ["old"] * 4 + ["new"] * 2, "time": [0] * 4 + [20 * day] * 2})
    data = from_frame(frame, time="time")
    new, old = data.items.encode(["new", "old"])
    plain = Popular().fit(data).scores(np.array([0]))[0]
    assert (plain[old], plain[new]) == (4, 2)
    fading = Popular(half_life_days=10).fit(data).scores(np.array([0]))[0]
    assert fading[old] == pytest.approx(4 * 0.25) and fading[new] == pytest.approx(2)
    from dataclasses import replace

    with pytest.raises(Unsupported, match="half-life of 10 days needs a time"):
        Popular(half_life_days=10).fit(replace(data, time=None))


def test_random_lists_differ_between_users_and_seeds_and_spread_evenly() -> None:
    train = tastes().train
    model, other = Random().fit(train, RunContext(seed=1)), Random().fit(train, RunContext(seed=2))
    users = np.arange(train.n_users)
    scores = model.scores(users)
    assert len(np.unique(model.recommend(users, 10).items, axis=0)) == len(users)
    assert not np.array_equal(scores, other.scores(users))
    assert scores.min() >= 0 and scores.max() < 1 and abs(scores.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(scores[0], scores[1])[0, 1]) < 0.3
    one, two = model.history_scores(Histories.from_lists([[3, 5, 8], [8, 3, 5, 5]]))
    np.testing.assert_array_equal(one, two)


# ---- real data -------------------------------------------------------------------------------------
def ndcg_at_20(model, train: Dataset, test: Dataset) -> float:
    holdout = Holdout(test)
    top = model.fit(train).recommend_holdout(holdout, 20)
    truth = holdout.relevant.toarray()
    hits = np.take_along_axis(truth, np.maximum(top.items, 0), axis=1) * (top.items >= 0)
    gain = 1 / np.log2(np.arange(2, 22))
    ideal = np.concatenate([[0], np.cumsum(gain)])[np.minimum(truth.sum(axis=1), 20).astype(int)]
    return float(np.mean(hits @ gain / ideal))


def test_known_figures_on_movielens_100k(real_data) -> None:
    folder = real_data("ml-100k")
    frames = [pd.read_csv(folder / f"{part}.csv.gz") for part in ("train", "test")]
    both = pd.concat(frames)
    users, items = IdMap(np.sort(both.user.unique())), IdMap(np.sort(both.item.unique()))
    train, test = (from_frame(frame, time="timestamp", users=users, items=items) for frame in frames)
    assert ndcg_at_20(Popular(), train, test) == pytest.approx(0.2090, abs=0.0005)
    assert ndcg_at_20(Ease(regularization=200), train, test) == pytest.approx(0.4458, abs=0.0005)
    for model, least in ((ItemKnn(), 0.40), (UserKnn(), 0.40), (Rp3beta(), 0.39), (Slim(), 0.43), (SeqItemKnn(), 0.30)):
        assert ndcg_at_20(model, train, test) >= least, model.key
