"""LightGCN: propagation and its gradient against dense matrices and the paper's sums; what it learns and whom it serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from recsys_core.context import RunContext
from recsys_core.data.dataset import Dataset, from_frame
from recsys_core.data.histories import Histories
from recsys_core.data.holdout import Holdout
from recsys_core.data.ids import IdMap
from recsys_core.metrics._quick import ndcg_at
from recsys_core.models.deep._graph_objectives import choice_loss
from recsys_core.models.deep.lightgcn import LightGCN
from recsys_core.nn.batches import SparseRows
from recsys_core.nn.graph import UserItemGraph
from recsys_core.nn.samplers import Drawn

SMALL = {"factors": 8, "batch_size": 30, "learning_rate": 0.03, "weight_decay": 1e-4, "averaging": 0.0}


def context(seed: int = 42, **more) -> RunContext:
    return RunContext(seed=seed, threads=1, **more)


def edges(n_users: int = 7, n_items: int = 5, seed: int = 0) -> np.ndarray:
    """A table of who chose what; the last user and the last item have no edge."""
    table = (np.random.default_rng(seed).random((n_users, n_items)) < 0.4).astype(np.float32)
    table[0] = 1
    table[-1] = table[:, -1] = 0
    return table


def dense_operator(table: np.ndarray, layers: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(A⁰ + … + A^K) / (K + 1) of the whole (users + items)² adjacency, written out."""
    n_users, n_items = table.shape
    whole = np.zeros((n_users + n_items,) * 2)
    whole[:n_users, n_users:], whole[n_users:, :n_users] = table, table.T
    degrees = np.maximum(whole.sum(1), 1)
    adjacency = whole / np.sqrt(degrees[:, None] * degrees[None, :])
    return torch.as_tensor(sum(np.linalg.matrix_power(adjacency, k) for k in range(layers + 1)) / (layers + 1), dtype=dtype)


def two_tastes(n_users: int = 60, n_items: int = 30) -> tuple[Dataset, Holdout]:
    """Half of the users choose from the first half of the items, half from the second; three each are held out."""
    rng = np.random.default_rng(5)
    half = n_items // 2
    picks = np.argsort(rng.random((n_users, half)), axis=1)[:, :11] + half * (np.arange(n_users) % 2)[:, None]
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items)]
    whole = Dataset(*ids, np.repeat(np.arange(n_users), 11), picks.ravel(), np.ones(picks.size, np.float32))
    held = np.arange(picks.size) % 11 < 3
    return whole.subset(~held), Holdout(whole.subset(held))


# ---- the graph -----------------------------------------------------------------------------------
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_propagation_is_the_loop_of_the_paper(layers):
    """Eq. 3 and 11, edge by edge."""
    table, rng = edges(), np.random.default_rng(1)
    user, item = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))
    u, i = [user], [item]
    for _ in range(layers):
        next_u, next_i = np.zeros_like(user), np.zeros_like(item)
        for a, b in np.argwhere(table):
            weight = 1 / np.sqrt(table[a].sum() * table[:, b].sum())
            next_u[a] += weight * i[-1][b]
            next_i[b] += weight * u[-1][a]
        u.append(next_u)
        i.append(next_i)
    graph = UserItemGraph(sparse.csr_matrix(table))
    got = graph.propagate(torch.as_tensor(user), torch.as_tensor(item), layers)
    np.testing.assert_allclose(got[0], np.mean(u, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], np.mean(i, axis=0), rtol=1e-5, atol=1e-6)
    each = graph.layers(torch.as_tensor(user), torch.as_tensor(item), layers)
    for (got_u, got_i), want_u, want_i in zip(each, u, i, strict=True):
        np.testing.assert_allclose(got_u, want_u, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got_i, want_i, rtol=1e-5, atol=1e-6)


def test_a_path_worked_by_hand():
    """u0 - i0 - u1: degrees 1, 2, 1, so every edge weighs 1/√2."""
    graph = UserItemGraph(sparse.csr_matrix(np.array([[1.0], [1.0]])))
    user, item = graph.propagate(torch.tensor([[2.0], [4.0]]), torch.tensor([[10.0]]), 1)
    root = 2**-0.5
    assert user.flatten().tolist() == pytest.approx([(2 + 10 * root) / 2, (4 + 10 * root) / 2])
    assert item.item() == pytest.approx((10 + 6 * root) / 2)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_gradient_is_that_of_autograd_through_dense_matrices(layers):
    table = edges()
    operator, graph = dense_operator(table, layers), UserItemGraph(sparse.csr_matrix(table))
    torch.manual_seed(0)
    start, pull = torch.randn(12, 4, dtype=torch.float64), torch.randn(12, 4, dtype=torch.float64)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    (torch.cat(graph.propagate(ours[:7], ours[7:], layers)).sin() * pull).sum().backward()
    ((operator @ theirs).sin() * pull).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_gradcheck(share):
    """First and second derivatives against finite differences, also where edges are dropped."""
    graph = UserItemGraph(sparse.csr_matrix(edges()))
    weights = graph.drop(share) if share else None
    user, item = (torch.randn(n, 2, dtype=torch.float64, requires_grad=True) for n in (7, 5))
    assert torch.autograd.gradcheck(lambda u, i: graph.propagate(u, i, 3, weights), (user, item))
    assert torch.autograd.gradgradcheck(lambda u, i: graph.propagate(u, i, 2, weights), (user, item))


def test_users_and_items_without_edges_keep_a_share_of_their_own_vector():
    graph = UserItemGraph(sparse.csr_matrix(edges()))
    user, item = torch.ones(7, 2, requires_grad=True), torch.ones(5, 2, requires_grad=True)
    u, i = graph.propagate(user, item, 3)
    (u.sum() + i.sum()).backward()
    assert all(torch.isfinite(x).all() for x in (u, i, user.grad, item.grad))
    assert u[-1].tolist() == i[-1].tolist() == user.grad[-1].tolist() == [0.25, 0.25]
    empty = UserItemGraph(sparse.csr_matrix((3, 2), dtype=np.float32)).propagate(torch.ones(3, 2), torch.ones(2, 2), 2)
    assert torch.equal(torch.cat(empty), torch.full((5, 2), 1 / 3))


def test_an_edge_is_dropped_in_both_directions_and_the_rest_make_up_for_it():
    rng = np.random.default_rng(0)
    graph = UserItemGraph(sparse.csr_matrix((rng.random((80, 60)) < 0.5).astype(np.float32)))
    torch.manual_seed(0)
    to_users, to_items = graph.drop(0.3)
    every_u, every_i = torch.eye(140)[:, :80], torch.eye(140)[:, 80:]
    u, i = graph.propagate(every_u.T.contiguous(), every_i.T.contiguous(), 1, (to_users, to_items))
    operator = torch.cat([u, i])
    torch.testing.assert_close(operator, operator.T)
    assert (to_users == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert to_users.sum().item() == pytest.approx(graph.drop(0.0)[0].sum().item(), rel=0.05)


def test_two_threads_add_up_alike_every_time():
    table = sparse.random(300, 2001, 0.4, "csr", np.float32, 0)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (2, 2, 2, 1):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            user, item = torch.randn(300, 64, requires_grad=True), torch.randn(2001, 64, requires_grad=True)
            u, i = UserItemGraph(table).propagate(user, item, 3)
            (u.square().sum() + i.square().sum()).backward()
            results.append((u.detach(), i.detach(), user.grad, item.grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


# ---- the losses ----------------------------------------------------------------------------------
def testchoice_loss_is_the_softmax_written_out():
    """Over all items, choices among them; and over drawn ones, where all are drawn once and a row's own choices left out."""
    rng = np.random.default_rng(0)
    user, item, say = rng.normal(size=(3, 4)), rng.normal(size=(6, 4)), np.array([1.0, 0.5, 2.0])
    chosen = [[0, 2], [5], [1, 3, 4]]
    table = sparse.csr_matrix(np.array([[float(i in row) for i in range(6)] for row in chosen]))
    scores = user @ item.T
    whole = against_others = 0.0
    for b, row in enumerate(chosen):
        others = sum(np.exp(scores[b, i]) for i in range(6) if i not in row)
        for i in row:
            whole -= say[b] * np.log(np.exp(scores[b, i]) / np.exp(scores[b]).sum())
            against_others -= say[b] * np.log(np.exp(scores[b, i]) / (np.exp(scores[b, i]) + others))
    tensors = [torch.as_tensor(x, dtype=torch.float32) for x in (user, item)]
    rows, weights = SparseRows(table).all(), torch.as_tensor(say, dtype=torch.float32)
    assert choice_loss(*tensors, rows, None, weights).item() == pytest.approx(whole, rel=1e-5)
    drawn = Drawn(torch.arange(6), torch.full((6,), -float(np.log(6))), torch.as_tensor(table.toarray() > 0))
    assert choice_loss(*tensors, rows, drawn, weights).item() == pytest.approx(against_others, rel=1e-5)


def test_a_batch_is_the_mean_of_its_rows():
    data, _ = two_tastes()
    for loss in ("softmax", "bpr"):
        model = LightGCN(**SMALL, loss=loss, epochs=1)
        model.fit(data, context())
        _, objective = model._objective(data, torch.device("cpu"))
        halves = torch.arange(20), torch.arange(20, 40)
        if loss == "softmax":
            together, apart = objective(torch.arange(40), 0), sum(objective(half, 0) for half in halves) / 2
            assert together.item() == pytest.approx(apart.item(), rel=1e-5)
        else:  # each choice draws an item of its own
            assert objective(halves[0], 0).item() == pytest.approx(objective(torch.arange(480), 0).item(), rel=0.5)


@pytest.mark.parametrize(
    ("loss", "sampler"),
    [*((loss, "uniform") for loss in ("softmax", "bpr", "bce", "gbce", "cosine_contrastive")), ("softmax", "hard"), ("bpr", "in_batch")],
)
def test_every_loss_learns_to_rank(loss, sampler):
    data, held = two_tastes()
    more = {"negatives": 4} if sampler != "uniform" else {}
    settings = SMALL | ({"batch_size": 120} if loss != "softmax" else {})
    model = LightGCN(**settings, loss=loss, sampler=sampler, epochs=30, **more).fit(data, context())
    top = model.recommend_holdout(held, 3).items
    hits = np.mean([np.isin(row, held.relevant[b].indices).mean() for b, row in enumerate(top)])
    assert hits > 0.36, f"precision@3 {hits:.2f}; knowing the half of a user gives .43, chance .14"
    folded = model.recommend_for_history(Histories.from_lists([[0, 1, 2, 3], [20, 21, 22, 23]]), 6).items
    assert (folded[0] < 15).all() and (folded[1] >= 15).all()


def test_many_items_are_compared_with_a_sample():
    data, _ = two_tastes()
    model = LightGCN(**SMALL, negatives=10, epochs=40).fit(data, context())
    whole = LightGCN(**SMALL, epochs=40).fit(data, context())
    assert not model._over_all_items and whole._over_all_items
    top = model.recommend(np.arange(60), 4).items
    assert ((top < 15) == (np.arange(60) % 2 == 0)[:, None]).mean() > 0.95


# ---- the model -----------------------------------------------------------------------------------
def test_without_layers_it_is_plain_matrix_factorisation():
    data, _ = two_tastes()
    model = LightGCN(**SMALL, layers=0, epochs=20).fit(data, context())
    net = model.network
    want = (net.user.weight @ net.item.weight.T).detach().numpy()
    np.testing.assert_allclose(model.scores(np.arange(60)), want, rtol=1e-5, atol=1e-6)
    top = model.recommend_for_history(Histories.from_lists([[0, 1, 2], [20, 21]]), 6).items
    assert (top[0] < 15).all() and (top[1] >= 15).all()


def test_scores_are_those_of_the_layers_averaged():
    data, _ = two_tastes()
    model = LightGCN(**SMALL, layers=2, epochs=3).fit(data, context())
    weights = [model.network.user.weight.detach().double(), model.network.item.weight.detach().double()]
    vectors = dense_operator(data.matrix("binary").toarray(), 2) @ torch.cat(weights)
    np.testing.assert_allclose(model.scores(np.arange(60)), vectors[:60] @ vectors[60:].T, rtol=1e-3, atol=1e-5)


def test_what_items_hand_on_to_a_new_user_is_what_they_hand_on_to_a_training_user():
    """With the own vector of the training user, the fold-in's sum gives the propagated vector exactly."""
    data, _ = two_tastes()
    model = LightGCN(**SMALL, layers=3, epochs=5, fold_in_steps=0).fit(data, context())
    own = model.network.user.weight.detach().numpy()
    user = np.arange(60)
    mean_of_similar = data.matrix("binary") @ model._start / data.user_counts[:, None]
    folded = model._fold_in(data.histories(user)).numpy()
    np.testing.assert_allclose(folded + (own - mean_of_similar) / 4, model._user.numpy(), rtol=1e-3, atol=1e-5)


def test_fold_in_of_training_histories_gives_nearly_the_users_lists():
    data, _ = two_tastes(200, 60)
    model = LightGCN(factors=16, epochs=60, learning_rate=0.05).fit(data, context())
    user = np.arange(200)
    known, folded = model.recommend(user, 10).items, model.recommend_for_history(data.histories(user), 10).items
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(known, folded, strict=True)])
    by_chance = 10 / 22  # of the 22 unseen items of the user's half
    assert shared > 0.8 > by_chance


def test_fold_in_takes_each_user_alone_and_leaves_the_model_as_it_was():
    data, _ = two_tastes()
    model = LightGCN(**SMALL, epochs=5).fit(data, context())
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    histories = data.histories(np.arange(12))
    alone = np.concatenate([model.history_scores(histories.take(np.array([n]))) for n in range(12)])
    np.testing.assert_allclose(model.history_scores(histories), alone, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, model.network.state_dict()[name]) for name, value in before.items())


def test_items_and_users_without_likes_are_served():
    data, _ = two_tastes()
    ids = [IdMap(np.arange(n).astype(str)) for n in (62, 33)]
    value = np.where(data.user == 3, 1.0, 5.0)
    user, item = np.append(data.user, 60), np.append(data.item, 31)
    lone = Dataset(*ids, user, item, np.append(value, 1.0), feedback="explicit", threshold=3.0)
    model = LightGCN(**SMALL, epochs=10).fit(lone, context())
    top = model.recommend(np.array([3, 60, 61]), 5)
    assert (top.items >= 0).all() and np.isfinite(top.scores).all()
    assert (top.items[0] >= 15).all(), "user 3 liked nothing: the list is that of the history"
    of_unknown_item = model.history_scores(Histories.from_lists([[32], [0, 32]]))
    assert np.isfinite(of_unknown_item).all()
    assert np.isfinite(model.similar_items(np.array([32]), 3).scores).all()


def test_two_threads_give_the_same_weights_twice():
    n_users, n_items = 6, 2001
    ids = [IdMap(np.arange(n).astype(str)) for n in (n_users, n_items)]
    user, item = np.nonzero(np.random.default_rng(0).random((n_users, n_items)) < 0.5)
    data = Dataset(*ids, user, item, np.ones(len(user)))
    for settings in ({}, {"negatives": 500, "edge_dropout": 0.2}, {"loss": "bpr", "batch_size": 3000}):
        fits = [LightGCN(epochs=2, factors=32, **settings).fit(data, RunContext(seed=1, threads=2))._state() for _ in range(2)]
        for again in fits[1:]:
            assert all(np.array_equal(np.asarray(fits[0][name]), np.asarray(again[name])) for name in fits[0])


def test_compared_items_and_decay_follow_the_size_of_the_data():
    data, _ = two_tastes()
    small = LightGCN().resolve(data.stats)
    assert small.negatives == 30 and small.weight_decay == 1e-4 and small.batch_size == 16
    large = LightGCN().resolve(replace(data.stats, n_users=200_000, n_items=40_000, n_interactions=20_000_000))
    assert large.negatives < 40_000 and large.weight_decay == pytest.approx(6.5e-8) and large.factors == 64
    assert LightGCN(batch_size=100).resolve(replace(data.stats, n_items=40_000)).negatives == 40_000


@pytest.mark.slow
def test_lightgcn_on_real_data_at_its_defaults(real_data):
    """The fixed pair, full ranking: ALS of a known library reaches .4177, item neighbours .3947."""
    folder = real_data("ml-100k")
    train, test = (pd.read_csv(folder / f"{name}.csv.gz") for name in ("train", "test"))
    data = from_frame(train)
    held = np.random.default_rng(0).random(len(data)) < 0.2
    model = LightGCN().fit(data.subset(~held), context(), validation=Holdout(data.subset(held)))
    final = LightGCN(model.refit_params()).fit(data, context())
    items = IdMap([*data.items.ids, *sorted(set(test["item"].astype(str)) - set(data.items.ids))])
    truth = Holdout(from_frame(test, users=data.users, items=items))
    assert ndcg_at(final.recommend(truth.users, 20).items, truth.relevant, 20).mean() >= 0.40
