"""Two towers: the loss against slow loops, vectors as an index needs them, histories, features and items nobody chose."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.errors import Unsupported
from recsys_core.models._io import load_model, save_model
from recsys_core.models.deep.two_tower import TwoTower
from recsys_core.nn.batches import SparseRows
from recsys_core.nn.losses import in_batch_softmax
from recsys_core.nn.towers import BagOfFeatures, contrast, hide

ONE = RunContext(seed=7, threads=1)
SMALL = {"factors": 16, "epochs": 30, "batch_size": 16, "learning_rate": 0.01, "patience": 0}
N_USERS, N_ITEMS, N_COLD = 60, 30, 6  # of the items, the last six were chosen by nobody


def data(tables: bool = True) -> Dataset:
    """Half of the users choose even items, half odd ones, 8 each; the item table tells even from odd, the user table who is who."""
    rng = np.random.default_rng(5)
    half = (N_ITEMS - N_COLD) // 2
    picks = 2 * np.argsort(rng.random((N_USERS, half)), axis=1)[:, :8] + (np.arange(N_USERS) % 2)[:, None]
    made = Dataset(
        IdMap(np.arange(N_USERS)), IdMap(np.arange(N_ITEMS)), np.repeat(np.arange(N_USERS), 8), picks.ravel(), np.ones(picks.size)
    )
    if not tables:
        return made
    items = pd.DataFrame({"title": [f"No {n}" for n in range(N_ITEMS)], "kind": ["even", "odd"] * (N_ITEMS // 2)})
    users = pd.DataFrame({"side": ["left", "right"] * (N_USERS // 2)})
    return replace(made, item_table=items, user_table=users)


@pytest.fixture(scope="module")
def fitted() -> TwoTower:
    return TwoTower(**SMALL).fit(data(), ONE)


@pytest.fixture(scope="module")
def bare() -> TwoTower:
    return TwoTower(**SMALL).fit(data(tables=False), ONE)


# ---- the loss ------------------------------------------------------------------------------------
def test_the_loss_is_that_of_a_slow_loop_over_users_and_draws():
    """Each draw stands for 1 / expected items; a user's own positives are no negatives; a target keeps its score."""
    torch.manual_seed(0)
    n_users, n_items = 4, 9
    targets = [(0, 2), (0, 3), (1, 2), (2, 5), (3, 8), (3, 2)]  # (user, item): item 2 was met three times
    uniform = [1, 5, 1]
    liked = {0: {2, 3, 1}, 1: {2}, 2: {5, 0}, 3: {8, 2}}
    scores = torch.randn(n_users, n_items, dtype=torch.float64)
    share = torch.rand(n_items).double() / 5
    expected = [len(targets) * 0.75 * float(share[i]) + len(uniform) / n_items for i in range(n_items)]

    slow = 0.0
    for user, item in targets:
        total = 0.0
        for drawn in [i for _, i in targets] + uniform:
            if drawn not in liked[user]:
                total += math.exp(float(scores[user, drawn])) / expected[drawn]
        own = math.exp(float(scores[user, item]))
        slow -= math.log(own / (own + total)) / len(targets)

    codes, place, times = torch.unique(torch.tensor([i for _, i in targets] + uniform), return_inverse=True, return_counts=True)
    excluded = torch.tensor([[int(code) in liked[user] for code in codes] for user in range(n_users)])
    fast = contrast(
        scores[:, codes],
        torch.tensor([u for u, _ in targets]),
        place[: len(targets)],
        torch.tensor(expected, dtype=torch.float64)[codes].log(),
        times,
        excluded,
    )
    assert float(fast) == pytest.approx(slow, rel=1e-9)


def test_with_one_target_a_user_it_is_the_in_batch_softmax():
    torch.manual_seed(1)
    items = torch.tensor([4, 0, 4, 2, 7, 7])
    users, vectors = torch.randn(6, 5), torch.randn(8, 5)
    log_q = torch.rand(8).log()
    slow = in_batch_softmax(users, vectors[items], items, log_q[items], temperature=0.5)
    codes, place, times = torch.unique(items, return_inverse=True, return_counts=True)
    excluded = items[:, None] == codes
    scores = users @ vectors[codes].T / 0.5
    fast = contrast(scores, torch.arange(6), place, math.log(5) + log_q[codes], times, excluded)
    assert float(fast) == pytest.approx(float(slow), rel=1e-5)


def test_the_estimate_is_unbiased_however_popular_the_items_are():
    """Without the correction, or with its sign turned, popular items would count many times too much."""
    torch.manual_seed(2)
    n_items, from_batch, uniform = 25, 12, 4
    share = 1 / torch.arange(1.0, n_items + 1) ** 1.5
    share /= share.sum()
    scores = torch.randn(1, n_items)
    estimates = []
    for _ in range(4000):
        drawn = torch.cat([torch.multinomial(share, from_batch, True), torch.randint(n_items, (uniform,))])
        codes, times = torch.unique(drawn, return_counts=True)
        expected = from_batch * share[codes] + uniform / n_items
        positive = torch.full((1, 1), 0.0)
        loss = contrast(
            torch.cat([positive, scores[:, codes]], 1),
            torch.tensor([0]),
            torch.tensor([0]),
            torch.cat([torch.zeros(1), expected.log()]),
            torch.cat([torch.ones(1, dtype=torch.int64), times]),
            torch.tensor([[True] + [False] * len(codes)]),
        )
        estimates.append(math.expm1(float(loss)))  # loss = log(1 + sum)
    assert np.mean(estimates) == pytest.approx(float(scores.exp().sum()), rel=0.03)


def test_no_target_stays_in_its_own_history():
    torch.manual_seed(3)
    dense = np.random.default_rng(0).random((40, 50)) < 0.3
    dense[:, 0] = True  # nobody is empty
    dense[:5, 1:] = False  # five have that one item only
    rows = SparseRows(sparse.csr_matrix(dense)).all()
    shares = []
    for _ in range(50):
        shown, items, of = hide(rows, 0.6)
        left = set(zip(shown.rows.tolist(), shown.columns.tolist(), strict=True))
        out = set(zip(of.tolist(), items.tolist(), strict=True))
        assert not left & out and left | out == set(zip(*np.nonzero(dense), strict=True))
        assert set(of.tolist()) == set(range(40)), "every row has something to guess"
        shares.append(len(out) / dense.sum())
    assert np.mean(shares) == pytest.approx(0.6, abs=0.03)


def test_bags_of_features_are_a_product_of_matrices():
    torch.manual_seed(4)
    values = np.random.default_rng(0).random((12, 7), dtype=np.float32)
    values[values < 0.6] = 0
    values[3] = 0
    table = sparse.csr_matrix(values)
    bag, rows = BagOfFeatures(table, 5), torch.tensor([3, 0, 11, 0, 3])
    dense = torch.as_tensor(table.toarray()[rows.numpy()])
    told = bag(rows)
    torch.testing.assert_close(told, dense @ bag.weight)
    told.square().sum().backward()
    torch.testing.assert_close(bag.weight.grad, 2 * dense.T @ (dense @ bag.weight.detach()))
    assert bag(rows[:0]).shape == (0, 5)


# ---- vectors -------------------------------------------------------------------------------------
def test_all_vectors_have_unit_length(fitted, bare):
    histories = data().histories(np.arange(20))
    for model in (fitted, bare):
        for vectors in (model.item_vectors, model.user_vectors(histories), model.user_vectors(histories, np.arange(20))):
            assert vectors.dtype == np.float32
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_lists_are_the_exact_search_for_the_largest_inner_product(fitted):
    histories = Histories.from_lists([[0, 4, 8], [1, 3], [2, 5, 7, 9], [11]])
    found = np.argsort(-(fitted.user_vectors(histories) @ fitted.item_vectors.T), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(fitted.recommend_for_history(histories, 10, exclude_seen=False).items, found)
    users = np.arange(12)
    products = fitted.user_vectors(data().histories(users), users) @ fitted.item_vectors.T
    np.testing.assert_allclose(fitted.scores(users), products, rtol=1e-6)
    products[data().matrix("seen")[users].toarray() > 0] = -np.inf
    np.testing.assert_array_equal(fitted.recommend(users, 5).items, np.argsort(-products, axis=1, kind="stable")[:, :5])


def test_the_same_history_gives_the_same_vector(fitted, bare):
    histories = Histories.from_lists([[0, 4, 8], [8, 0, 4], [1, 3], [0, 4, 8]])
    for model in (fitted, bare):
        vectors = model.user_vectors(histories)
        np.testing.assert_allclose(vectors[[1, 3]], vectors[[0, 0]], atol=1e-6)
        assert vectors[0] @ vectors[2] < 0.9
    users = np.arange(5)
    np.testing.assert_array_equal(bare.scores(users), bare.history_scores(data().histories(users)))


def test_it_learns_with_ids_alone_and_says_that_it_cannot_place_new_items(bare):
    alike = bare.similar_items(np.arange(N_ITEMS - N_COLD), 5).items
    assert (alike % 2 == (np.arange(N_ITEMS - N_COLD) % 2)[:, None]).mean() > 0.9
    with pytest.raises(Unsupported, match="item table"):
        bare.new_item_vectors(pd.DataFrame({"kind": ["even"]}))


# ---- features ------------------------------------------------------------------------------------
def test_items_nobody_chose_are_served_from_their_features(fitted, bare):
    users, cold = np.arange(20), np.arange(N_ITEMS - N_COLD, N_ITEMS)
    own_side = (cold % 2 == (users % 2)[:, None]).astype(bool)
    scores = fitted.scores(users)[:, cold]
    assert (scores[own_side].reshape(20, -1).min(1) > scores[~own_side].reshape(20, -1).max(1) + 0.3).all()
    assert scores[own_side].mean() > fitted.scores(users)[:, : N_ITEMS - N_COLD].mean(), "below the average known item"
    blind = bare.scores(users)[:, cold]
    assert abs(blind[own_side].mean() - blind[~own_side].mean()) < 0.1, "without a table nothing is known of them"


def test_an_item_nobody_chose_does_not_hang_on_its_untrained_id(fitted):
    code = torch.tensor([N_ITEMS - 1, 0])
    before = fitted.network.items(code).detach()
    weight = fitted.network.item_id.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[code] += 3
        after = fitted.network.items(code)
        weight.copy_(kept)
    torch.testing.assert_close(after[0], before[0])
    assert (after[1] - before[1]).abs().max() > 0.1


def test_items_from_outside_get_the_vector_of_their_features(fitted):
    vectors = fitted.new_item_vectors(pd.DataFrame({"kind": ["odd", "even", "neither", None]}))
    np.testing.assert_allclose(vectors[:2], fitted.item_vectors[[N_ITEMS - 1, N_ITEMS - 2]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_features_change_the_vectors_of_those_who_have_them(fitted):
    histories = Histories.from_lists([[0, 4, 8]] * 2)
    left, right = fitted.user_vectors(histories, np.array([0, 1]))
    nobody = fitted.user_vectors(histories)[0]
    assert left @ right < 0.999 and left @ nobody < 0.9999
    item = 0
    assert left @ fitted.item_vectors[item] > right @ fitted.item_vectors[item], "the left side chooses even items"
    other = replace(data(), item_table=pd.DataFrame({"kind": ["odd", "even"] * (N_ITEMS // 2)}))
    turned = TwoTower(**SMALL).fit(other, ONE)
    assert np.abs(turned.item_vectors[-1] - fitted.item_vectors[-1]).max() > 0.1


def test_a_saved_model_needs_no_tables(fitted, tmp_path):
    save_model(fitted, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.fitted.item_table is None and loaded.fitted.user_table is None
    users = np.arange(10)
    np.testing.assert_array_equal(loaded.scores(users), fitted.scores(users))
    np.testing.assert_array_equal(loaded.item_vectors, fitted.item_vectors)
    table = pd.DataFrame({"kind": ["odd", "new"]})
    np.testing.assert_array_equal(loaded.new_item_vectors(table), fitted.new_item_vectors(table))


# ---- learning ------------------------------------------------------------------------------------
def test_refit_after_validation_keeps_features_and_settings():
    rng = np.random.default_rng(0)
    held = rng.random(len(data())) < 0.25
    model = TwoTower(**(SMALL | {"patience": 5})).fit(data().subset(~held), ONE, validation=Holdout(data().subset(held)))
    again = TwoTower(model.refit_params()).fit(data(), ONE)
    assert again.params.epochs == model.best_epoch and sorted(again.features) == ["item", "user"]
    assert again.features["item"].shape == (N_ITEMS, 4) and again.encoders["item"].left_out.keys() == {"title"}


@pytest.mark.parametrize(
    "settings", [{"lazy_updates": True}, {"layers": 2, "dropout": 0.2}, {"extra_items": 0}, {"learn_temperature": True}]
)
def test_every_setting_learns_the_two_sides(settings):
    model = TwoTower(**(SMALL | settings)).fit(data(), ONE)
    top = model.recommend(np.arange(N_USERS), 3).items
    assert (top % 2 == (np.arange(N_USERS) % 2)[:, None]).mean() > 0.9


def test_two_threads_give_the_same_weights_twice():
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((4, 1500)) < 0.6)
    table = pd.DataFrame({"kind": rng.choice(["a", "b", "c"], 1500)})
    many = Dataset(IdMap(np.arange(4)), IdMap(np.arange(1500)), user, item, np.ones(len(user)), item_table=table)
    states = [TwoTower(factors=16, epochs=3, batch_size=4).fit(many, RunContext(seed=1, threads=2)).network.state_dict() for _ in range(3)]
    for again in states[1:]:
        assert all(torch.equal(states[0][name], again[name]) for name in again)


@pytest.mark.slow
def test_on_real_data_at_its_defaults(real_data):
    """The fixed pair, full ranking: popular reaches .2091."""
    from recsys_core.data.dataset import from_frame
    from recsys_core.metrics._quick import ndcg_at

    folder = real_data("ml-100k")
    train, test = (pd.read_csv(folder / f"{name}.csv.gz") for name in ("train", "test"))
    whole = from_frame(train)
    held = np.random.default_rng(0).random(len(whole)) < 0.2
    model = TwoTower().fit(whole.subset(~held), ONE, validation=Holdout(whole.subset(held)))
    final = TwoTower(model.refit_params()).fit(whole, ONE)
    items = IdMap([*whole.items.ids, *sorted(set(test["item"].astype(str)) - set(whole.items.ids))])
    truth = Holdout(from_frame(test, users=whole.users, items=items))
    ndcg = ndcg_at(final.recommend(truth.users, 20).items, truth.relevant, 20).mean()
    assert len(truth.users) == 943 and ndcg >= 0.42
