"""The factor models against implicit, dense linear algebra and slow loops, and on real data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recsys_core import registry
from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, DatasetStats, from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.ids import IdMap
from recsys_core.data.topk import top_k
from recsys_core.errors import Cancelled, Unsupported
from recsys_core.models.cf._factors import factor_topk
from recsys_core.models.cf._fold_in import maximise, padded_groups, popularity_sample, positives, row_blocks, weighted_ridge
from recsys_core.testing.datasets import tastes

KEYS = ["als", "bpr", "lmf", "pure_svd", "nmf", "biased_mf"]
REAL = Path(os.environ.get("RECSYS_REAL_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data") / "ml-100k"


def fit(key: str, data: Dataset, seed: int = 3, **values):
    return registry.get("model", key)(**values).fit(data, RunContext(seed=seed, threads=1))


@pytest.fixture(scope="module")
def counts() -> Dataset:
    return tastes().train


@pytest.fixture(scope="module")
def ratings() -> Dataset:
    return tastes(ratings=True).train


# ---- top-k ---------------------------------------------------------------------------------------
def slow_topk(queries, catalogue, k, seen, allowed):
    """One user, one item at a time, with Python's stable sort."""
    items, scores = np.full((len(queries), k), -1), np.full((len(queries), k), np.nan)
    for b, query in enumerate(queries):
        hidden = set(seen.indices[seen.indptr[b] : seen.indptr[b + 1]]) if seen is not None else set()
        free = [i for i in range(len(catalogue)) if i not in hidden and (allowed is None or allowed[i])]
        best = sorted(free, key=lambda i: (-float(query @ catalogue[i]), i))[:k]
        items[b, : len(best)] = best
        scores[b, : len(best)] = [query @ catalogue[i] for i in best]
    return items, scores


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_factor_topk_equals_a_slow_loop(restricted: bool, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # Whole numbers: products are exact, so ties are real ties and must go to the lower item code.
    queries, catalogue = rng.integers(-2, 3, (23, 4)).astype(np.float32), rng.integers(-2, 3, (1500, 4)).astype(np.float32)
    seen = sparse.random(23, 1500, 0.02, format="csr", random_state=1)
    allowed = rng.random(1500) < 0.8 if restricted else None
    monkeypatch.setattr("recsys_core.models.cf._factors.BLOCK_BYTES", 8 * 4 * 1500)
    items, scores = factor_topk(queries, catalogue, 7, seen, allowed, threads=threads)
    expected_items, expected_scores = slow_topk(queries, catalogue, 7, seen, allowed)
    np.testing.assert_array_equal(items, expected_items)
    np.testing.assert_allclose(scores, expected_scores)


@pytest.mark.parametrize("k", [1, 5, 300])
def test_long_rows_are_ranked_like_a_full_stable_sort(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(0, 40, (31, 12_000)).astype(np.float32)  # hundreds of ties at every cut
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[0] = -np.inf
    scores[1, 3:] = -np.inf
    scores[2] = 0
    scores[3, :200] = np.nan
    items, best = top_k(scores, k)
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_array_equal(items, np.where(np.isfinite(expected), order, -1))
    np.testing.assert_array_equal(best, np.where(np.isfinite(expected), expected, np.nan))


def test_nothing_left_is_minus_one_where_implicit_gives_sentinels(counts: Dataset) -> None:
    from implicit.cpu.topk import topk

    model = fit("als", counts, factors=8)
    seen = sparse.csr_matrix((np.arange(counts.n_items) != 5)[None, :].astype(np.float32))
    _, sentinel = topk(model.item_factors, model.user_factors[:1], 4, filter_query_items=seen, num_threads=1)
    assert sentinel[0, 1] < -1e30, "implicit pads with a huge negative score"
    items, scores = factor_topk(model.user_factors[:1], model.item_factors, 4, seen)
    np.testing.assert_array_equal(items, [[5, -1, -1, -1]])
    assert np.isnan(scores[0, 1:]).all()


@pytest.mark.parametrize("key", KEYS)
def test_fast_lists_are_those_of_the_plain_scores(key: str, ratings: Dataset) -> None:
    model = fit(key, ratings)
    users = np.arange(0, ratings.n_users - 3)
    scores = model.scores(users).copy()
    scores[ratings.matrix("seen")[users].toarray() > 0] = -np.inf
    items, best = top_k(scores, 10)
    top = model.recommend(users, 10)
    np.testing.assert_allclose(top.scores, best, rtol=1e-4, atol=1e-5)
    assert (top.items == items).mean() > 0.995  # nearly equal scores may swap between two matrix products


# ---- solving for a user --------------------------------------------------------------------------
def test_als_fold_in_equals_implicit_recalculate_user(counts: Dataset) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    model = fit("als", counts, factors=12, alpha=3.0, weighting="log")
    reference = AlternatingLeastSquares(factors=12, regularization=model.resolved.regularization, alpha=1.0, num_threads=1)
    reference.item_factors = model.item_factors
    confidence = counts.matrix("count").copy()
    weights = np.log2(1 + confidence.data)
    confidence.data = (1 + 3 * weights / weights.mean()).astype(np.float32)
    users = np.arange(counts.n_users)
    expected = reference.recalculate_user(users, confidence)
    np.testing.assert_allclose(model.user_factors, expected, rtol=2e-3, atol=2e-4)
    known = np.flatnonzero(counts.user_counts)
    np.testing.assert_allclose(model._fold_in(counts.histories(known)), expected[known], rtol=2e-3, atol=2e-4)


def test_als_explanation_sums_to_the_score_and_matches_implicit(counts: Dataset) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    model = fit("als", counts, factors=12, weighting="binary")
    user, item = 7, 40
    why = model.explain(item, user=user, k=500)
    score = model.scores(np.array([user]))[0, item]
    assert why.exact and why.total == pytest.approx(score, abs=1e-4) and sum(why.contributions) == pytest.approx(score, abs=1e-4)
    assert set(why.refs) == set(counts.matrix("binary")[user].indices)
    assert list(why.contributions) == sorted(why.contributions, reverse=True)
    reference = AlternatingLeastSquares(factors=12, regularization=model.resolved.regularization, alpha=5.0, num_threads=1)
    reference.item_factors = model.item_factors
    total, top, _ = reference.explain(0, counts.matrix("binary")[user], item, N=3)
    assert total == pytest.approx(why.total, abs=1e-4)
    np.testing.assert_allclose([part for _, part in top], why.contributions[:3], atol=1e-4)


def test_weighted_ridge_equals_a_loop_over_rows() -> None:
    rng = np.random.default_rng(0)
    matrix = sparse.random(40, 90, 0.15, format="csr", random_state=2, dtype=np.float32)
    matrix.data[matrix.indptr[3] : matrix.indptr[4]] = 0
    matrix.eliminate_zeros()  # a row without entries
    vectors, ridge = rng.standard_normal((90, 6)), np.arange(1, 7) / 10
    gram = np.eye(6) * 0.3
    own = weighted_ridge(vectors, gram, matrix, lambda v: 2 * v, lambda v, c: v + c, ridge=ridge)
    for row in range(40):
        columns, values = matrix[row].indices, matrix[row].data.astype(float)
        left = gram + sum((2 * v * np.outer(vectors[c], vectors[c]) for c, v in zip(columns, values, strict=True)), np.zeros((6, 6)))
        left += np.diag(ridge * len(columns))
        right = sum(((v + c) * vectors[c] for c, v in zip(columns, values, strict=True)), np.zeros(6))
        expected = np.linalg.solve(left, right) if len(columns) else np.zeros(6)
        np.testing.assert_allclose(own[row], expected, rtol=1e-3, atol=1e-3)


def test_groups_and_blocks_visit_every_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_core.models.cf._fold_in.WORK_BYTES", 2000)
    matrix = sparse.random(57, 80, 0.2, format="csr", random_state=5)
    matrix.data[:] = np.arange(1, matrix.nnz + 1)
    visited = np.concatenate([values[~np.isnan(values)] for _, _, values in padded_groups(matrix, 4)])
    np.testing.assert_array_equal(np.sort(visited), matrix.data)
    rows = np.concatenate([np.arange(57)[block] for block in row_blocks(matrix, 4)])
    np.testing.assert_array_equal(rows, np.arange(57))


def test_maximise_finds_the_maximum_scipy_finds() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    vectors, offset, goal = rng.standard_normal((30, 5)), rng.standard_normal(30), rng.standard_normal((9, 5)) * 0.3

    def objective(x, rows):
        scores = x @ vectors.T + offset
        odds = np.exp(scores)
        value = (x * goal[rows]).sum(1) - np.log(odds.sum(1)) - 0.05 * (x * x).sum(1)
        return value, goal[rows] - odds / odds.sum(1, keepdims=True) @ vectors - 0.1 * x

    own = maximise(objective, (9, 5), np.cov(vectors.T) + 0.1 * np.eye(5), 60, width=30)
    for row in range(9):
        found = minimize(lambda x, row=row: -objective(x[None], slice(row, row + 1))[0][0], np.zeros(5), tol=1e-9)
        np.testing.assert_allclose(own[row], found.x, atol=1e-3)


def test_popularity_quantiles_keep_the_shares() -> None:
    share = np.array([0.5, 0.25, 0.125, 0.125])
    items, weights = popularity_sample(share, 4)
    np.testing.assert_array_equal(items, np.arange(4))
    np.testing.assert_array_equal(weights, share)
    large = np.tile(share / 25, 25)
    items, weights = popularity_sample(large, 80)
    np.testing.assert_allclose(np.bincount(items % 4, weights, minlength=4), share, atol=0.02)


def test_low_ratings_are_no_positives_but_hand_picked_items_are(ratings: Dataset) -> None:
    histories = Histories.from_lists([[1, 2, 3], [4, 5], []], [[5.0, 1.0, 4.0], [1.0, 1.0], []])
    row = positives(histories, ratings)  # relevant from 4
    assert row[0].indices.tolist() == [1, 3] and row[1].indices.tolist() == [4, 5] and row[2].nnz == 0


# ---- single models -------------------------------------------------------------------------------
def test_pure_svd_equals_the_dense_svd(counts: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = counts.matrix("binary").toarray().astype(float)
    right = np.linalg.svd(matrix, full_matrices=False)[2][:9]
    expected = matrix @ right.T @ right
    users = np.flatnonzero(counts.user_counts)
    np.testing.assert_allclose(fit("pure_svd", counts, factors=9, weighting="binary").scores(users), expected[users], atol=1e-4)
    monkeypatch.setattr("recsys_core.models.cf.pure_svd.DENSE_CELLS", 0)  # the Lanczos solver
    model = fit("pure_svd", counts, factors=9, weighting="binary")
    np.testing.assert_allclose(model.scores(users), expected[users], atol=1e-4)
    why = model.explain(11, user=int(users[0]), k=500)
    assert sum(why.contributions) == pytest.approx(expected[users[0], 11], abs=1e-4)


def test_pure_svd_says_when_there_are_fewer_directions_than_factors() -> None:
    data = from_frame(pd.DataFrame({"user": list("aabbcc"), "item": list("xyxyxy")}))
    model = fit("pure_svd", data, factors=8)
    assert model.item_factors.shape[1] == 1 and "Only 1 factors" in model.notes[0]


def test_nmf_says_when_its_penalty_leaves_nothing(counts: Dataset) -> None:
    with pytest.raises(Unsupported, match="nothing is left of the factors"):
        fit("nmf", counts, regularization=10_000)


@pytest.mark.parametrize("loss", ["squared", "kullback_leibler"])
def test_nmf_is_non_negative_and_its_fold_in_is_optimal(loss: str, counts: Dataset) -> None:
    from scipy.optimize import minimize

    model = fit("nmf", counts, factors=5, loss=loss, regularization=0.5, weighting="binary")
    assert model.user_factors.min() >= 0 and model.item_factors.min() >= 0 and model.item_factors.max() > 0
    user = 4
    row, items = counts.matrix("binary")[user].toarray()[0].astype(float), model.item_factors.astype(float)

    def objective(x):
        expected = items @ x
        if loss == "squared":
            return 0.5 * ((row - expected) ** 2).sum() + 0.25 * (x * x).sum()
        return (expected - row * np.log(expected + 1e-12)).sum() + 0.25 * (x * x).sum()

    found = minimize(objective, np.full(5, 0.3), bounds=[(0, None)] * 5, tol=1e-12)
    own = objective(model._fold_in(counts.histories(np.array([user])))[0].astype(float))
    assert own <= found.fun + 1e-2 * abs(found.fun)


def test_biased_mf_predicts_structure_and_knows_the_average_for_strangers(ratings: Dataset) -> None:
    held = tastes(ratings=True).held_out.truth
    model = fit("biased_mf", ratings)
    rmse = np.sqrt(np.mean((model.predict_ratings(held.user, held.item) - held.value) ** 2))
    user_mean = np.bincount(ratings.user, ratings.value, ratings.n_users) / np.maximum(
        np.bincount(ratings.user, minlength=ratings.n_users), 1
    )
    assert rmse < 0.95 * np.sqrt(np.mean((user_mean[held.user] - held.value) ** 2))
    stranger = model.predict_ratings(np.array([-1]), np.array([-1]))[0]
    assert stranger == pytest.approx(ratings.value.mean(), abs=0.05)


def test_biased_mf_hand_picked_items_count_as_liked(ratings: Dataset) -> None:
    model = fit("biased_mf", ratings)
    picked = model.recommend_for_history(Histories.from_lists([[0, 5, 10, 15]]), 10).items[0]
    assert (picked % 5 == 0).mean() >= 0.6, "items 0, 5, 10, 15 are of taste 0"


@pytest.mark.parametrize("key", KEYS)
def test_cancel_stops_in_the_middle_of_the_fit(key: str, ratings: Dataset) -> None:
    asked = []

    def third_time() -> bool:
        asked.append(1)
        return len(asked) >= 3

    with pytest.raises(Cancelled):
        registry.get("model", key)().fit(ratings, RunContext(cancelled=third_time, threads=1))
    assert len(asked) == 3


@pytest.mark.parametrize("key", KEYS)
def test_cost_grows_with_the_data_and_is_finite(key: str) -> None:
    model = registry.get("model", key)()
    small = model.cost(DatasetStats(1_000, 2_000, 100_000, 500, True, True, False, False))
    large = model.cost(DatasetStats(200_000, 50_000, 20_000_000, 5_000, True, True, False, False))
    assert 0 < small.seconds < large.seconds and 0 < small.memory_bytes < large.memory_bytes


# ---- real data -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def movielens() -> tuple[dict[str, Dataset], Dataset]:
    if not (REAL / "train.csv.gz").exists():
        pytest.skip(f"needs MovieLens 100K (train.csv.gz and test.csv.gz) in {REAL}; set RECSYS_REAL_DATA")
    train, test = (pd.read_csv(REAL / f"{part}.csv.gz") for part in ("train", "test"))
    user, item, value = train.columns[:3]
    both = pd.concat([train, test])
    names = {"user": user, "item": item, "users": IdMap(np.sort(both[user].unique())), "items": IdMap(np.sort(both[item].unique()))}
    explicit = from_frame(train, value=value, feedback="explicit", **names)
    return {"implicit": from_frame(train, **names), "explicit": explicit}, from_frame(test, value=value, feedback="explicit", **names)


def ndcg(items: np.ndarray, test: Dataset) -> float:
    truth = test.matrix("seen").toarray()[np.arange(len(items))]
    discount = 1 / np.log2(np.arange(2, items.shape[1] + 2))
    gains = np.take_along_axis(truth, items, axis=1) @ discount
    ideal = np.cumsum(discount)[np.minimum(truth.sum(axis=1).astype(int), items.shape[1]) - 1]
    return float((gains / ideal)[truth.any(axis=1)].mean())


# What each reaches with its defaults, less a margin for other processors; most popular: .209.
@pytest.mark.parametrize(
    ("key", "least"), [("als", 0.44), ("bpr", 0.41), ("lmf", 0.36), ("pure_svd", 0.42), ("nmf", 0.41), ("biased_mf", 0.41)]
)
def test_defaults_on_movielens(key: str, least: float, movielens: tuple[dict[str, Dataset], Dataset]) -> None:
    train, test = movielens
    data = train["explicit" if key == "biased_mf" else "implicit"]
    model = fit(key, data, seed=42)
    users = np.arange(data.n_users)
    assert ndcg(model.recommend(users, 20).items, test) >= least
    assert ndcg(model.recommend_for_history(data.histories(users), 20).items, test) >= least
    if key == "biased_mf":
        error = model.predict_ratings(test.user, test.item) - test.value
        assert np.sqrt(np.mean(error**2)) < 0.93
