"""Forms of factor and item-to-item models: what is taken out, what stays right, and the solvers against others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, sparse

from recsys_core import registry
from recsys_core.errors import Unsupported
from recsys_core.models._portable import Portable
from recsys_core.models.cf._fewer_factors import beside_a_constant, principal, strongest
from recsys_core.models.cf._item_to_item import fewer_weights, largest_of_rows
from recsys_core.portable.bundle import Bundle
from recsys_core.portable.forms._ascent import maximise, popularity_sample
from recsys_core.portable.forms._entries import per_entry
from recsys_core.portable.forms._factors import gram_of
from recsys_core.portable.history import History
from recsys_core.portable.matrix import Dense, Sparse
from recsys_core.serving.bundle import write_bundle
from recsys_core.testing._checks import ONE
from recsys_core.testing.datasets import described, tastes

CASE = described(tastes(60, 30), 5).train
FACTORS = {
    "als": {"factors": 8},
    "bpr": {"factors": 8, "iterations": 20},
    "lmf": {"factors": 8, "iterations": 10},
    "nmf": {"factors": 8, "iterations": 10},
    "pure_svd": {"factors": 8},
    "feature_mf": {"factors": 8, "iterations": 3},
}


def opened(model, folder, **settings) -> Bundle:
    write_bundle(model, folder / "b.zip", **settings)
    return Bundle.open(folder / "b.zip")


# ---- fewer factors -------------------------------------------------------------------------------
def test_principal_directions_keep_all_there_is_and_lose_the_least():
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    says = np.array([3, 2, 1, 0.1, 0, 0])  # two directions say nothing, one hardly anything
    users, items = (rng.normal(size=(n, 6)) * says @ turned.T for n in (200, 80))
    whole = users @ items.T

    def lost(turn: np.ndarray) -> float:
        return float(np.linalg.norm(whole - users @ turn @ (items @ turn).T) / np.linalg.norm(whole))

    turns = {keep: principal(users, items, keep) for keep in (2, 3, 4)}
    for keep, turn in turns.items():
        np.testing.assert_allclose(turn.T @ turn, np.eye(keep), atol=1e-10)
    assert lost(turns[4]) < 1e-6 and lost(turns[3]) < 0.01
    best = np.sqrt((np.linalg.svd(whole, compute_uv=False)[2:] ** 2).sum()) / np.linalg.norm(whole)
    assert best <= lost(turns[2]) < 1.2 * best  # the best of rank 2 turns either side its own way
    assert lost(turns[2]) < min(lost(np.eye(6)[:, [a, b]]) for a in range(6) for b in range(a))


def test_what_may_not_be_turned_is_not():
    rng = np.random.default_rng(1)
    users, items = rng.random((20, 4)), rng.random((9, 4)) * [1, 5, 0.1, 3]
    np.testing.assert_array_equal(strongest(users, items, 2), np.eye(4)[:, [1, 3]])
    items[:, -1] = 1
    turn = beside_a_constant(users, items, 3)
    np.testing.assert_array_equal((items @ turn)[:, -1], 1)
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-10)


@pytest.mark.parametrize("key", FACTORS)
def test_with_fewer_factors_a_model_still_folds_in_and_stays_as_it_was(key, tmp_path):
    model = registry.get("model", key)(**FACTORS[key]).fit(CASE, ONE)
    before, width = model.scores(np.arange(5)), model.item_factors.shape[1]
    portable = model.portable()
    fewer = portable.prune(0.5)
    kept = fewer.matrices["items"].shape[1]
    assert kept == fewer.user_matrices["users"].shape[1] == round(width / 2) and fewer.prune is None
    np.testing.assert_array_equal(model.scores(np.arange(5)), before)
    bundle = opened(model, tmp_path, portable=fewer)
    for user in range(5):
        history = bundle.history(user)
        known, folded = bundle.form.scores(history, user), bundle.form.scores(history)
        if model.users_are_solved:  # solved again, in what is left
            np.testing.assert_allclose(known, folded, atol=1e-4 * np.ptp(folded))
        if key != "pure_svd":  # held to more below
            assert np.corrcoef(known, before[user])[0, 1] > 0.6
    if key == "nmf":
        assert fewer.matrices["items"].min() >= 0 and fewer.user_matrices["users"].min() >= 0
    if key == "lmf":
        np.testing.assert_allclose(fewer.matrices["items"][:, -1], 1)


def test_a_truncated_svd_becomes_the_one_with_fewer_directions(tmp_path):
    whole, short = (registry.get("model", "pure_svd")(factors=factors).fit(CASE, ONE) for factors in (8, 4))
    bundle, wanted = opened(whole, tmp_path, portable=whole.portable().prune(0.5)), short.scores(np.arange(20))
    for user in range(20):
        np.testing.assert_allclose(bundle.form.scores(bundle.history(user)), wanted[user], atol=1e-4 * np.ptp(wanted[user]))


def test_all_factors_kept_is_the_same_model(tmp_path):
    model = registry.get("model", "als")(factors=8).fit(CASE, ONE)
    bundle = opened(model, tmp_path, portable=model.portable().prune(0.0))
    wanted = model.history_scores(CASE.histories(np.arange(5)))
    for user in range(5):
        np.testing.assert_allclose(bundle.form.scores(bundle.history(user)), wanted[user], atol=1e-4 * np.ptp(wanted[user]))


# ---- fewer weights -------------------------------------------------------------------------------
def test_the_largest_weights_of_each_row_stay():
    weights = np.array([[0, 5, -9, 1], [1, 0, 2, 3], [0, 0, 0, 7], [0, 0, 0, 0]], np.float32)
    wanted = [[0, 5, -9, 0], [0, 0, 2, 3], [0, 0, 0, 7], [0, 0, 0, 0]]  # a third of 3 taken out; at least the only one stays
    np.testing.assert_array_equal(largest_of_rows(weights, 1 / 3).toarray(), wanted)
    np.testing.assert_array_equal(largest_of_rows(sparse.csr_matrix(weights), 1 / 3).toarray(), wanted)
    np.testing.assert_array_equal(largest_of_rows(weights, 0).toarray(), weights)


def test_weights_become_sparse_only_where_that_is_smaller():
    dense = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    portable = fewer_weights(Portable("item_weights", {"weights": dense}))
    third, most = (portable.prune(share).matrices["weights"] for share in (0.3, 0.8))
    assert isinstance(third, np.ndarray) and (third == 0).mean() == pytest.approx(0.3)
    assert sparse.issparse(most) and most.nnz == 0.2 * dense.size


# ---- solvers -------------------------------------------------------------------------------------
def test_the_ascent_finds_the_maximum():
    rng = np.random.default_rng(3)
    rows, offset, mean = rng.normal(size=(50, 6)), rng.normal(size=50), rng.normal(size=6) * 0.3

    def look(x, scores):
        odds = np.exp(scores - scores.max())
        value = x @ mean - scores.max() - np.log(odds.sum()) - 0.1 * x @ x
        return value, lambda: mean - odds @ rows / odds.sum() - 0.2 * x

    best = optimize.minimize(lambda x: -look(x, rows @ x + offset)[0], np.zeros(6), tol=1e-12)
    direction = np.linalg.inv(np.cov(rows.T, bias=True) + 0.2 * np.eye(6))
    np.testing.assert_allclose(maximise(look, rows, offset, direction, 200, 1e-14), best.x, atol=1e-5)
    assert not maximise(look, rows, offset, direction, 0, 0).any()


def test_non_negative_least_squares_is_the_exact_one(tmp_path):
    model = registry.get("model", "nmf")(factors=6, iterations=10, regularization=0.5).fit(CASE, ONE)
    form = opened(model, tmp_path).form
    history = History.of([1, 6, 11, 3, 3])
    target = np.zeros(CASE.n_items)
    weights = model._weighted(sparse.csr_matrix(np.bincount(history.items, minlength=CASE.n_items)[None, :].astype(float)))
    target[weights.indices] = weights.data
    items = model.item_factors.astype(np.float64)
    exact, _ = optimize.nnls(np.vstack([items, np.sqrt(0.5) * np.eye(6)]), np.append(target, np.zeros(6)))
    np.testing.assert_allclose(form.fold_in(history), exact, atol=1e-4 * exact.max())


def test_small_sums():
    rows = Dense(np.random.default_rng(0).normal(size=(9000, 5)).astype(np.float32))
    np.testing.assert_allclose(gram_of(rows), rows.values.T.astype(float) @ rows.values, rtol=1e-6)
    wide = sparse.random(30, 20, 0.2, random_state=0, format="csr", dtype=np.float32)
    for at in (0, 7, 19):
        for matrix in (Dense(wide.toarray()), Sparse(wide.indptr, wide.indices, wide.data, 20)):
            np.testing.assert_array_equal(matrix.column(at), wide.toarray()[:, at])
    told = per_entry(History.of([7, 2, 7, 9]), np.array([2, 7]), np.array([1.0, 6.0]))
    np.testing.assert_array_equal(told, [3, 1, 3, 0])  # repeats share, what was left out adds nothing
    items, weight = popularity_sample(np.array([0.5, 0.25, 0.25]), 4)
    assert items.tolist() == [0, 1, 2] and weight.tolist() == [0.5, 0.25, 0.25]
    assert popularity_sample(np.array([0.7, 0.1, 0.1, 0.1]), 2)[0].tolist() == [0, 1]


# ---- special cases -------------------------------------------------------------------------------
def test_the_user_table_serves_training_users_without_history(tmp_path):
    from dataclasses import replace

    table = pd.DataFrame({"kind": pd.Series(np.arange(CASE.n_users) % 5).map(lambda n: f"kind {n}").astype("str")})
    model = registry.get("model", "feature_mf")(factors=8, iterations=3).fit(replace(CASE, user_table=table), ONE)
    assert model.of_users is not None
    quiet = int(np.flatnonzero(np.bincount(CASE.user, minlength=CASE.n_users) == 0)[0])
    for with_users in (True, False):
        bundle = opened(model, tmp_path, with_users=with_users)
        wanted = model.scores(np.array([quiet]))[0] if with_users else bundle.popularity
        user = bundle.users.code(f"u{quiet}")
        assert (user == quiet) == with_users
        np.testing.assert_allclose(bundle.scores(bundle.history(user), user), wanted, atol=1e-4 * np.ptp(wanted))
        history = CASE.histories(np.array([4]))
        folded, parts = bundle.form.scores(History(history.items, history.values)), bundle.form.shares(3, History.of(history.items))
        np.testing.assert_allclose(folded, model.history_scores(history)[0], atol=1e-4 * np.ptp(folded))
        assert parts is not None and not parts[1]  # what the table adds is of no item
        np.testing.assert_allclose(bundle.scores(History.of([])), bundle.popularity)


def test_neighbours_are_not_bundled_without_the_users_they_are(tmp_path):
    model = registry.get("model", "user_knn")().fit(CASE, ONE)
    with pytest.raises(Unsupported, match="cannot be bundled without users"):
        write_bundle(model, tmp_path / "b.zip", with_users=False)
    assert not (tmp_path / "b.zip").exists()


@pytest.mark.parametrize("codec", ["float16", "int8"])
@pytest.mark.parametrize("key", ["als", "pure_svd", "item_knn"])
def test_stored_narrow_the_lists_hardly_move(key, codec, tmp_path):
    model = registry.get("model", key)().fit(CASE, ONE)
    bundle = opened(model, tmp_path, codec=codec)
    wanted = model.history_scores(CASE.histories(np.arange(20)))
    for user in range(20):
        found = bundle.form.scores(bundle.history(user))
        np.testing.assert_allclose(found, wanted[user], atol=0.02 * np.ptp(wanted[user]))
